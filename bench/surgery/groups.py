"""Channel groups as plain data: what each channel of a network owns, tensor by tensor.

A group is a set of channels that stand or fall together: the output channels of one layer, of all layers that
residual adds tie to it, and everything that reads them. `bench.surgery.trace` finds the groups, `mask` and
`remove` act on them; nothing here touches a network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.errors import NotPrunable, SurgeryError, unknown_name
from bench.surgery.cost import MEASURES, Cost

__all__ = ["ChannelGroup", "Groups", "LeftOut", "Slice", "with_savings"]


@dataclass(frozen=True, eq=False)
class Slice:
    """What the channels of a group own along one dimension of one tensor.

    Attributes:
        tensor: name of a parameter or buffer, such as `layer1.0.conv1.weight`.
        dim: the dimension of that tensor.
        index: long [width, entries] on the CPU: the entries along `dim` that belong to each channel.
        size: length of that dimension, other groups' entries included.
    """

    tensor: str
    dim: int
    index: Tensor
    size: int

    @property
    def entries(self) -> int:
        """Entries along `dim` a channel: above 1 behind a flatten, or where a tensor is concatenated twice."""
        return self.index.shape[1]


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
    """

    name: str
    width: int
    layers: tuple[str, ...]
    macs_per_channel: int
    params_per_channel: int
    slices: tuple[Slice, ...]
    network: nn.Module = field(repr=False)

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
        return tuple(self._rows(layer, self.network.get_parameter(f"{layer}.weight")) for layer in self.layers)

    def rows_of(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What belongs to each producer's filters in tensors that go with the parameters, shaped like `weights`.

        Args:
            tensors: by parameter name, such as `trial.gradients` gives; `LAYER.weight` of each layer must be there.

        Raises:
            SurgeryError: the group is from before a removal, or the tensors are.
        """
        return tuple(self._rows(layer, tensors[f"{layer}.weight"]) for layer in self.layers)

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

    def _rows(self, layer: str, weight: Tensor) -> Tensor:
        name = f"{layer}.weight"
        owned = next(s for s in self.slices if s.tensor == name and s.dim == 0)
        if weight.shape[0] != owned.size:
            raise SurgeryError(
                f"channel group {self.name!r} is out of date: {name} had {owned.size} rows when it was made and "
                f"has {weight.shape[0]} now. Read the groups again after each removal."
            )
        order = owned.index.flatten()
        if len(order) == owned.size and bool((order.diff() == 1).all()):
            rows: Tensor = weight
        else:
            rows = weight.index_select(0, order.to(weight.device))
        return rows if owned.entries == 1 else rows.unflatten(0, owned.index.shape)


@dataclass(frozen=True)
class LeftOut:
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
    left_out: tuple[LeftOut, ...]
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


def with_savings(groups: Sequence[ChannelGroup], cost: Cost) -> tuple[ChannelGroup, ...]:
    """The groups with `macs_per_channel` and `params_per_channel` as they are at the groups' widths."""
    widths = np.array([group.width for group in groups])
    one_less = widths - np.eye(len(groups), dtype=int)
    macs, params = (cost.amounts(measure, widths[None])[0] - cost.amounts(measure, one_less) for measure in MEASURES)
    return tuple(
        replace(group, macs_per_channel=int(m), params_per_channel=int(p))
        for group, m, p in zip(groups, macs, params, strict=True)
    )
