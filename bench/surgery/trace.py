"""Finds a network's channel groups.

The network runs in evaluation mode while labels are followed through it (`bench.surgery.graph`), and in training mode
where that executes anything else. This gives the exact entries that each channel owns in every tensor and what every
product costs. What labels cannot show (code in `forward` that depends on widths) shows in a rehearsal: on a copy with
random weights, removal must equal the mask (`bench.surgery.rehearsal`). A group that fails is left out, with the
reason.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import NotPrunable, unknown_name
from bench.measure.macs import count_macs
from bench.surgery.cost import Term
from bench.surgery.families import Families, Family, find_families, row_dim
from bench.surgery.graph import Tracer
from bench.surgery.groups import ChannelGroup, Groups, SkippedGroup, build_cost, by_reason, weight_names, with_savings
from bench.surgery.rehearsal import Rehearsal, random_copy, removed
from bench.surgery.remove import plan_removal
from bench.surgery.ties import Pin, Product

__all__ = ["trace_groups"]

_REASONS = 12


def trace_groups(network: nn.Module, shape: tuple[int, int, int], prunable: Sequence[str] | None = None) -> Groups:
    """The channel groups of a network, as it is now. The network is not touched, nor is any generator.

    Args:
        network: the network, on any device, in any mode.
        shape: one input's shape, (C, H, W).
        prunable: patterns (as in a shell) of layer names; a group is offered if one of its producer layers
            matches. None offers every group whose first producer is a convolution, or a linear layer that is applied
            at many positions (a transformer's, not a classifier's), blocks of filters for a PixelShuffle aside: they
            are no channels that a ranking of filters is made for, and go where they are named.

    Raises:
        NotPrunable: no group is left, or the network does not run, gives two answers, changes its input in place,
            or returns something else than tensors.
        UsageError: a pattern matches no convolution or linear layer.
    """
    layers = [name for name, module in network.named_modules() if row_dim(module) is not None]
    for pattern in prunable or ():
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise unknown_name("prunable layer", pattern, layers)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
        copy = random_copy(network)
        tracer = _traced(copy, shape)
        rehearsal = Rehearsal(copy, shape, tracer)

        def wanted(producers: Sequence[str]) -> bool:
            if prunable is not None:
                return any(fnmatchcase(producer, pattern) for producer in producers for pattern in prunable)
            first = producers[0]
            is_token = any(tracer.positions.get(weight, 0) > 1 for weight in weight_names(first))
            return not isinstance(copy.get_submodule(first), nn.Linear) or is_token

        def found() -> tuple[Families, dict[str, str]]:
            families = find_families(copy, tracer.ties, [name for name in layers if _ran(tracer, copy, name)], wanted)
            return families, {} if prunable is not None else _noted(families, tracer.ties.blocks)

        families, blocks = found()
        if not rehearsal.sees_training(_groups(families, blocks)):
            families, blocks = found()
        notes = _noted(families, tracer.ties.notes)
        offered, failed = rehearsal.separate(_groups(families, blocks), notes)
        left_out = [
            *families.skipped,
            *(SkippedGroup(name, reason) for name, reason in blocks.items()),
            *(SkippedGroup(f.name, f"{notes[f.name]}: {f.reason}" if f.name in notes else f.reason) for f in failed),
            *_attentions(copy, tracer),
            *_bare(copy, tracer, families, layers if prunable is None else ()),
        ]
        if not offered:
            raise NotPrunable(
                "no channel group can be offered. Choose another network, name other layers in the track's prunable "
                f"layers, or use an unstructured method. {_why(left_out)}"
            )
        live = [_owned_by(network, group) for group in offered]
        names = {group.name for group in offered}
        kept = [family for family in families.found if family.group.name in names]
        terms, total = _terms(tracer.ties.products, kept, families)
        if tracer.opaque or tracer.unknown:
            total = count_macs(copy, shape).total
            terms = [*terms, *_counted_terms(copy, shape, offered, terms, total)]
    cost = build_cost(network, live, terms, total)
    return Groups(with_savings(live, cost), tuple(left_out), cost)


def _traced(network: nn.Module, shape: tuple[int, int, int]) -> Tracer:
    """The tracer of a network that has run in evaluation mode.

    Raises:
        NotPrunable: see `trace_groups`.
    """
    name = type(network).__name__
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    tracer, given = Tracer(network), image.clone()
    try:
        outputs = tracer.run(given, counting=True, training=False)
    except Exception as error:  # whatever the network's own code raises
        raise NotPrunable(
            f"{name} does not run on an input of shape {[1, *shape]} in evaluation mode ({type(error).__name__}: "
            f"{(str(error) or '-').splitlines()[0]}). Give it images of the size that it is made for."
        ) from error
    if not torch.equal(given, image):
        raise NotPrunable(
            f"{name} changes its input in place, so that two runs on one image differ and nothing can be proven "
            f"about it. Let its first operation make a new tensor (no inplace=True on the input)."
        )
    listed = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    if not listed or not all(isinstance(output, Tensor) for output in listed):
        raise NotPrunable(
            f"{name} returns {type(outputs).__name__}, whose equality is not proven. Return a tensor, or a tuple or "
            f"list of tensors."
        )
    return tracer


def _ran(tracer: Tracer, network: nn.Module, name: str) -> bool:
    return any(weight in tracer.positions for weight in weight_names(name))


def _owned_by(network: nn.Module, group: ChannelGroup) -> ChannelGroup:
    return ChannelGroup(group.name, group.width, group.layers, 0, 0, group.slices, network, group.attributes)


def _groups(families: Families, without: Mapping[str, str]) -> list[ChannelGroup]:
    return [family.group for family in families.found if family.group.name not in without]


def _noted(families: Families, notes: Sequence[Pin]) -> dict[str, str]:
    """The first of these notes on each group, by the group's name."""
    place = np.full(families.solution.count, -1)
    for each, family in enumerate(families.found):
        place[family.components] = each
    found: dict[str, str] = {}
    for note in notes:
        for each in np.unique(place[families.solution.of[note.labels]]):
            if each >= 0:
                found.setdefault(families.found[each].group.name, note.reason)
    return found


def _why(left_out: Sequence[SkippedGroup]) -> str:
    """The reasons, each once with how many groups it has, a line each."""
    if not left_out:
        return "No convolution feeds another layer."
    lines = [f"{names}: {reason}" for reason, names in by_reason({out.name: out.reason for out in left_out}).items()]
    if len(lines) > _REASONS:
        lines[_REASONS:] = [f"and for {len(lines) - _REASONS} more reasons"]
    return "\n".join(["Left out:", *lines])


def _attentions(network: nn.Module, tracer: Tracer) -> list[SkippedGroup]:
    """The heads of PyTorch's own attention, which cannot go."""
    return [
        SkippedGroup(
            name,
            f"its {module.num_heads} heads stay: nn.MultiheadAttention ties its embedding ({module.embed_dim}) to "
            f"heads x head size, so that no head can go while the embedding stays",
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.MultiheadAttention) and module in tracer.called
    ]


def _bare(network: nn.Module, tracer: Tracer, families: Families, layers: Sequence[str]) -> list[SkippedGroup]:
    """Parameters that are applied as weights and belong to no layer, whose channels could go if they did."""
    of, taken = families.solution.of, families.solution.pinned.copy()
    for family in families.found:
        taken[family.components] = True
    named = {weight for layer in layers for weight in weight_names(layer)}
    found = []
    for name, labels in tracer.applied_labels.items() if layers else ():
        free = of[labels][~taken[of[labels]]]
        owner = network.get_submodule(name.rpartition(".")[0])
        if name not in named and len(np.unique(free)) > 1 and not isinstance(owner, nn.MultiheadAttention):
            reason = (
                "it is a bare parameter, and groups have layers: let an nn.Conv2d or nn.Linear have it as its weight"
            )
            found.append(SkippedGroup(name, reason))
    return found


def _counted_terms(
    network: nn.Module, shape: tuple[int, int, int], groups: Sequence[ChannelGroup], terms: Sequence[Term], macs: int
) -> list[Term]:
    """What a channel of each group costs beyond the terms, counted; nothing where half of every group agrees."""

    def missing(chosen: Sequence[ChannelGroup]) -> int:
        cost = build_cost(network, groups, terms, macs)
        keep = {group.name: torch.arange((group.width + 1) // 2) for group in chosen}
        widths = {group.name: len(keep.get(group.name, range(group.width))) for group in groups}
        everything = Groups(tuple(groups), (), cost)
        with removed(network, plan_removal(network, everything, keep)):
            return cost.macs(widths) - count_macs(network, shape).total

    if missing(groups) == 0:
        return []
    found = []
    for place, group in enumerate(groups):
        rate = missing([group]) / (group.width // 2)
        entries = tuple(int(each == place) for each in range(len(groups)))
        found.append(Term(round(rate), ((0, entries),)))
    return found


def _terms(products: Sequence[Product], kept: Sequence[Family], families: Families) -> tuple[list[Term], int]:
    """The products as functions of the kept groups' widths, and their sum now."""
    column = np.full(families.solution.count, -1)
    widths = np.array([len(family.components) for family in kept])
    for place, family in enumerate(kept):
        column[family.components] = place
    terms = []
    for product in products:
        constant, factors = product.constant, []
        for each in product.factors:
            owners = column[families.solution.of[each.labels]]
            counts = np.bincount(owners[owners >= 0], minlength=len(kept))
            if counts.any():
                entries = counts // widths
                factors.append((each.length - int(counts.sum()), tuple(entries.tolist())))
            else:
                constant *= each.length
        if factors:
            terms.append(Term(constant, tuple(factors)))
    return terms, sum(product.macs for product in products)
