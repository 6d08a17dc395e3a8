"""Channel groups as plain data: what each channel of a network owns, tensor by tensor.

A group is a set of channels that stand or fall together: the output channels of one layer, of all layers that
residual adds tie to it, and everything that reads them. `bench.surgery.trace` finds the groups, `mask` and
`remove` act on them; nothing here touches a network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.errors import NotPrunable, SurgeryError, unknown_name
from bench.surgery.cost import MEASURES, Cost, Term
from bench.surgery.resize import MADE_OF

__all__ = [
    "AttributeSlice",
    "ChannelGroup",
    "Groups",
    "SkippedGroup",
    "Slice",
    "build_cost",
    "by_reason",
    "weight_names",
    "with_savings",
]


@dataclass(frozen=True, eq=False)
class Slice:
    """What the channels of a group own along one dimension of one tensor.

    Attributes:
        tensor: name of a parameter or buffer, such as `layer1.0.conv1.weight`.
        dim: the dimension of that tensor.
        index: long [width, entries] on the CPU: the entries along `dim` that belong to each channel.
        size: length of that dimension, other groups' entries included.
        off: what a mask puts there: `zero`; `like_rest` where weights are standardised over that dimension, whose
            statistics must not notice (the channels are zero, so the weights that read them do not matter); `as_is`
            where a zero would be divided by its own length (weight normalisation, whose length g is zero instead).
    """

    tensor: str
    dim: int
    index: Tensor
    size: int
    off: Literal["zero", "like_rest", "as_is"] = "zero"

    @property
    def entries(self) -> int:
        """Entries along `dim` a channel: above 1 behind a flatten, or where a tensor is concatenated twice."""
        return self.index.shape[1]


@dataclass(frozen=True)
class AttributeSlice:
    """A number in a module that goes down with the channels, such as an attention module's `num_heads`.

    Attributes:
        module: the module's path.
        name: the attribute.
        item: its place where the attribute is a list or tuple, else None.
        entries: how much it goes down a channel.
    """

    module: str
    name: str
    item: int | None
    entries: int


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that are removed together, in one or several tied layers.

    Attributes:
        name: the name of its first producer layer, in module order.
        width: number of channels now.
        layers: the producer layers: those whose output channels are the group, in module order.
        macs_per_channel: MACs that removing one channel saves now, all other widths as they are.
        params_per_channel: parameters that removing one channel saves now.
        slices: everything that the channels own.
        attributes: the modules' numbers that say how many there are.
    """

    name: str
    width: int
    layers: tuple[str, ...]
    macs_per_channel: int
    params_per_channel: int
    slices: tuple[Slice, ...]
    network: nn.Module = field(repr=False)
    attributes: tuple[AttributeSlice, ...] = ()

    @property
    def weight(self) -> Tensor:
        """The first producer's filters, live: see `weights`."""
        return self.weights[0]

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Each producer's current filters [width, c_in, k, k] (linear: [width, in]), rows in channel order.

        They are the parameters themselves where the order is the identity, else differentiable selections of
        them, so that a loss may propagate back through them. Where a channel owns several rows of a layer the
        shape is [width, rows, ...].

        Raises:
            SurgeryError: the group is from before a removal.
        """
        return tuple(self._rows(layer, self._module(layer).weight) for layer in self.layers)

    def rows_of(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What belongs to each producer's filters in tensors that go with the parameters, shaped like `weights`.

        Args:
            tensors: by parameter name, such as `trial.gradients` gives; `LAYER.weight` of each layer must be there.

        Raises:
            SurgeryError: the group is from before a removal, or the tensors are.
        """
        return tuple(self._rows(layer, tensors[self._owned(layer).tensor]) for layer in self.layers)

    def norms(self, p: float = 1) -> Tensor:
        """The l_p norm of each channel's filters [width], summed over the producers (Li et al. 2017 for p = 1).

        Live, as `weights` are: a loss may propagate back through it.
        """
        if p == 1:
            return torch.stack([weight.abs().flatten(1).sum(1) for weight in self.weights]).sum(0)
        return torch.stack([weight.flatten(1).norm(p, dim=1) for weight in self.weights]).sum(0)

    @property
    def norm_scales(self) -> Tensor:
        """Absolute BatchNorm scale of each channel [width], the mean where several BatchNorms see it.

        Live, as `weights` are: a loss may propagate back through it. Network slimming (Liu et al. 2017) ranks by it.

        Raises:
            NotPrunable: no BatchNorm with a scale sees these channels.
        """
        scales = []
        for owned in self.slices:
            layer, _, kind = owned.tensor.rpartition(".")
            if kind == "weight" and isinstance(self.network.get_submodule(layer), _BatchNorm):
                scale = self.network.get_parameter(owned.tensor)
                scales.append(scale[owned.index.to(scale.device)].abs().mean(1))
        if not scales:
            raise NotPrunable(
                f"channel group {self.name!r} has no BatchNorm with a scale. Use a network that has one after each "
                "prunable layer, and say needs = {'batchnorm'} in the method, so that a plan is refused before it runs."
            )
        return torch.stack(scales).mean(0)

    def _module(self, layer: str) -> Any:
        return self.network.get_submodule(layer)

    def _owned(self, layer: str) -> Slice:
        """The slice of a producer's rows."""
        dim = 1 if isinstance(self._module(layer), nn.modules.conv._ConvTransposeNd) else 0
        return next(each for each in self.slices if each.tensor in weight_names(layer) and each.dim == dim)

    def _rows(self, layer: str, weight: Tensor) -> Tensor:
        owned = self._owned(layer)
        if weight.shape[owned.dim] != owned.size:
            raise SurgeryError(
                f"channel group {self.name!r} is out of date: {owned.tensor} had {owned.size} rows when it was made "
                f"and has {weight.shape[owned.dim]} now. Read the groups again after each removal."
            )
        if owned.dim:  # a transposed convolution's filters are its columns
            weight = weight.transpose(0, 1)
        order = owned.index.flatten()
        if len(order) == owned.size and bool((order.diff() == 1).all()):
            rows: Tensor = weight
        else:
            rows = weight.index_select(0, order.to(weight.device))
        return rows if owned.entries == 1 else rows.unflatten(0, owned.index.shape)


@dataclass(frozen=True)
class SkippedGroup:
    """A group that was asked for and cannot be offered, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Groups:
    """All groups of a network that are offered, those that are not, and what widths cost.

    Attributes:
        offered: the groups, in module order.
        left_out: the groups that match the wanted layers and cannot be offered, with reasons.
        cost: MACs and parameters as functions of all the widths. Stays valid after removals.
    """

    offered: tuple[ChannelGroup, ...]
    left_out: tuple[SkippedGroup, ...]
    cost: Cost

    def __iter__(self) -> Iterator[ChannelGroup]:
        return iter(self.offered)

    def __len__(self) -> int:
        return len(self.offered)

    def __getitem__(self, name: str) -> ChannelGroup:
        for group in self.offered:
            if group.name == name:
                return group
        raise SurgeryError(str(unknown_name("channel group", name, self.widths)))

    @property
    def widths(self) -> dict[str, int]:
        """Current width by group name."""
        return {group.name: group.width for group in self.offered}


def by_reason(left_out: Mapping[str, str]) -> dict[str, str]:
    """Reason -> the groups that have it, the first three by name and how many more; of group -> reason."""
    found: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        found.setdefault(reason, []).append(name)
    return {
        reason: ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for reason, names in found.items()
    }


def weight_names(layer: str) -> tuple[str, ...]:
    """The names that a layer's weight may have: plain, or what PyTorch's normalisations make it of, new and old."""
    path = f"{layer}." if layer else ""
    made_of = ("parametrizations.weight.original1", "parametrizations.weight.original", *MADE_OF)
    return tuple(f"{path}{name}" for name in ("weight", *made_of))


def with_savings(groups: Sequence[ChannelGroup], cost: Cost) -> tuple[ChannelGroup, ...]:
    """The groups with `macs_per_channel` and `params_per_channel` as they are at the groups' widths."""
    widths = np.array([group.width for group in groups])
    one_less = widths - np.eye(len(groups), dtype=int)
    macs, params = (cost.amounts(measure, widths[None])[0] - cost.amounts(measure, one_less) for measure in MEASURES)
    return tuple(
        replace(group, macs_per_channel=int(m), params_per_channel=int(p))
        for group, m, p in zip(groups, macs, params, strict=True)
    )


def build_cost(network: nn.Module, groups: Sequence[ChannelGroup], terms: Sequence[Term], macs: int) -> Cost:
    """The cost of a network as a function of its groups' widths.

    Args:
        network: the network at its current widths.
        groups: all its groups, with their current widths.
        terms: its products, as functions of the widths.
        macs: multiply-accumulates of the whole network now; what the terms do not explain is fixed.
    """
    parameters = dict(network.named_parameters())
    owned: dict[str, dict[int, NDArray[np.int64]]] = {}
    for column, group in enumerate(groups):
        for each in group.slices:
            if each.tensor in parameters:
                by_dim = owned.setdefault(each.tensor, {})
                by_dim.setdefault(each.dim, np.zeros(len(groups), dtype=np.int64))[column] += each.entries
    widths = np.array([group.width for group in groups], dtype=np.int64)
    sizes = []
    for tensor, by_dim in owned.items():
        shape = parameters[tensor].shape
        rest = [length for dim, length in enumerate(shape) if dim not in by_dim]
        factors = tuple(
            (shape[dim] - int(entries @ widths), tuple(entries.tolist())) for dim, entries in by_dim.items()
        )
        sizes.append(Term(int(np.prod(rest, dtype=np.int64)), factors))
    names = tuple(group.name for group in groups)
    changing = sum(parameters[tensor].numel() for tensor in owned)
    params = sum(parameter.numel() for parameter in parameters.values())
    fixed = macs - sum(term.at(widths) for term in terms)
    return Cost.of(names, fixed, list(terms), params - changing, sizes)
