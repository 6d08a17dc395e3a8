"""From ties to channel groups: units that stand or fall together, and the layers whose rows they are."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.surgery.groups import AttributeSlice, ChannelGroup, SkippedGroup, Slice, weight_names
from bench.surgery.ties import Attribute, Entry, Solution, Ties, varying_axes

__all__ = ["Families", "Family", "find_families", "row_dim"]


@dataclass(frozen=True, eq=False)
class Family:
    """A group and the component of each of its channels."""

    group: ChannelGroup
    components: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Families:
    """All families, those that have to stay, and the solution that they come from."""

    found: tuple[Family, ...]
    skipped: tuple[SkippedGroup, ...]
    solution: Solution


def row_dim(layer: nn.Module) -> int | None:
    """The dimension of a layer's weight that is its output channels; None for what is no layer with weights."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return 1
    return 0 if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear) else None


def find_families(
    network: nn.Module, ties: Ties, layers: Sequence[str], wanted: Callable[[Sequence[str]], bool]
) -> Families:
    """The groups of a network whose ties are known.

    Args:
        network: the network that was traced.
        ties: what the trace found.
        layers: the layers that ran, in module order.
        wanted: whether a group with these producers is asked for.
    """
    solution = ties.solve()
    by_entry = {(entry.tensor, entry.dim): entry for entry in ties.entries}
    signature = _signatures(ties.entries, solution)
    members = _Owners([solution.of[entry.first : entry.first + entry.size] for entry in ties.entries])
    rows = {}
    for name in layers:
        dim = row_dim(network.get_submodule(name)) or 0
        entries = [by_entry.get((weight, dim)) for weight in weight_names(name)]
        entry = next((each for each in entries if each is not None), None)
        if entry is not None:
            rows[name] = solution.of[entry.first : entry.first + entry.size]
    names_of, producers = list(rows), _Owners(list(rows.values()))
    done = np.zeros(solution.count, dtype=bool)
    found: list[Family] = []
    skipped: list[SkippedGroup] = []
    names: dict[str, int] = defaultdict(int)
    for name, components in rows.items():
        fresh = _in_order(components[~done[components]])
        free = fresh[~solution.pinned[fresh]]
        stuck = fresh[solution.pinned[fresh]]
        done[fresh] = True
        some = False
        for family in _by_signature(free, signature):
            given = tuple(names_of[place] for place in producers.of(int(family[0])))
            if not wanted(given):
                continue
            names[name] += 1
            label = name if names[name] == 1 else f"{name}:{names[name]}"
            if len(family) == 1:
                skipped.append(SkippedGroup(label, _tangled_reason(ties, solution, family)))
                continue
            some = True
            owned = (ties.entries[place] for place in members.of(int(family[0])))
            slices = tuple(_slice(entry, family, ties, solution) for entry in owned)
            attributes = _attributes(ties.attributes, family, solution)
            found.append(Family(ChannelGroup(label, len(family), given, 0, 0, slices, network, attributes), family))
        if len(stuck):
            given = tuple(names_of[place] for place in producers.of(int(stuck[0])))
            reason = _pinned_reason(ties, solution, stuck)
            if reason is not None and wanted(given or (name,)):
                label = f"{name} ({len(stuck)} of {len(_in_order(components))} channels)" if some else name
                skipped.append(SkippedGroup(label, reason))
    return Families(tuple(found), tuple(skipped), solution)


def _signatures(entries: Sequence[Entry], solution: Solution) -> NDArray[np.uint64]:
    """A number for what a component owns: the same for components with as many entries in the same tensors."""
    keys = np.random.default_rng(0).integers(1, 2**63, size=len(entries), dtype=np.uint64)
    result = np.zeros(solution.count, dtype=np.uint64)
    np.add.at(result, solution.of[1:], np.repeat(keys, [entry.size for entry in entries]))
    return result


class _Owners:
    """Which of several parts have something of a component.

    Args:
        parts: the components of each part's entries.
    """

    def __init__(self, parts: Sequence[NDArray[np.int64]]) -> None:
        owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        pairs = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *parts]) * len(parts) + owner)
        self._components, self._places = np.divmod(pairs, max(1, len(parts)))

    def of(self, component: int) -> list[int]:
        """The places of these parts, in order."""
        first, last = np.searchsorted(self._components, [component, component + 1])
        return self._places[first:last].tolist()


def _in_order(components: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each component once, by its first place."""
    _, first = np.unique(components, return_index=True)
    return components[np.sort(first)]


def _by_signature(components: NDArray[np.int64], signature: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    keys = signature[components]
    return [components[keys == key] for key in dict.fromkeys(keys.tolist())]


def _slice(entry: Entry, family: NDArray[np.int64], ties: Ties, solution: Solution) -> Slice:
    components = solution.of[entry.first : entry.first + entry.size]
    place = np.full(solution.count, -1)
    place[family] = np.arange(len(family))
    owner = place[components]
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] >= 0]
    off: Literal["zero", "like_rest", "as_is"] = "zero"
    if len(order) and int(order[0]) + entry.first in ties.standardised:
        off = "like_rest"
    elif entry.dim == 0 and entry.tensor in ties.lengthless:
        off = "as_is"
    return Slice(entry.tensor, entry.dim, torch.from_numpy(order).view(len(family), -1), entry.size, off)


def _attributes(
    attributes: Sequence[Attribute], family: NDArray[np.int64], solution: Solution
) -> tuple[AttributeSlice, ...]:
    """The modules' numbers that become smaller with each channel of the family."""
    found: dict[tuple[str, str, int | None], int] = {}
    mine = np.zeros(solution.count, dtype=bool)
    mine[family] = True
    sure = {(each.module, each.name, each.item) for each in attributes if each.sure}
    for attribute in attributes:
        if not attribute.sure and (attribute.module, attribute.name, attribute.item) in sure:
            continue
        components = solution.of[attribute.labels]
        if not mine[components].any() or attribute.axis not in varying_axes(components):
            continue
        along = np.moveaxis(components, attribute.axis, 0).reshape(components.shape[attribute.axis], -1)
        count = int(mine[along].any(axis=1).sum())
        if count % len(family) == 0:
            found.setdefault((attribute.module, attribute.name, attribute.item), count // len(family))
    return tuple(AttributeSlice(*key, entries) for key, entries in found.items())


def _pinned_reason(ties: Ties, solution: Solution, stuck: NDArray[np.int64]) -> str | None:
    """Why components stay; None where it is plain."""
    mine = np.zeros(solution.count, dtype=bool)
    mine[stuck] = True
    reasons = [pin for pin in ties.pins if mine[solution.of[pin.labels]].any()]
    if any(pin.silent for pin in reasons) or not reasons:
        return None
    return reasons[0].reason


def _tangled_reason(ties: Ties, solution: Solution, family: NDArray[np.int64]) -> str:
    split = next((each for each in ties.splits if (solution.of[each.labels] == family[0]).any()), None)
    why = f": they are split or shuffled in {split.where}" if split is not None else ""
    return f"all its channels are tied to each other{why}, so that none can go alone"
