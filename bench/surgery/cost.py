"""MACs and parameters as exact functions of the channel groups' widths, without counting again.

Every dimension of a tensor is a fixed part plus, for each group that owns some of it, entries times width. A
convolution's or linear layer's MACs are its weight's size times the positions where it is applied, which no
removal changes. So both amounts follow from the widths alone; products without weights stay constant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bench.errors import SurgeryError

if TYPE_CHECKING:
    from bench.surgery.groups import ChannelGroup

__all__ = ["MEASURES", "Cost", "Measure", "build_cost"]

Measure = Literal["macs", "params"]
MEASURES: tuple[Measure, ...] = ("macs", "params")


@dataclass(frozen=True, eq=False)
class Cost:
    """Amounts by widths. Rows of the arrays are the parameters that some group owns a part of, T in all.

    Attributes:
        names: the groups, in the order of the arrays' group axis, G in all.
        fixed_macs: MACs of everything that no group changes.
        fixed_params: parameters that no group changes.
        positions: [T] MACs an entry: output positions of a layer's weight, 0 for other parameters.
        rest: [T] product of the dimensions from the third on.
        lengths: [2, T] the part of the first two dimensions that belongs to no group.
        entries: [2, T, G] entries a channel along the first two dimensions.
    """

    names: tuple[str, ...]
    fixed_macs: int
    fixed_params: int
    positions: NDArray[np.int64]
    rest: NDArray[np.int64]
    lengths: NDArray[np.int64]
    entries: NDArray[np.float64]

    def macs(self, widths: Mapping[str, int]) -> int:
        """Multiply-accumulates of one forward pass of one input, at these widths (one for every group)."""
        return int(self.amounts("macs", [[widths[name] for name in self.names]])[0])

    def params(self, widths: Mapping[str, int]) -> int:
        """Number of parameters at these widths (one for every group)."""
        return int(self.amounts("params", [[widths[name] for name in self.names]])[0])

    def amounts(self, measure: Measure, widths: Sequence[Sequence[int]] | NDArray) -> NDArray[np.int64]:
        """The amounts [N] at N width vectors [N, G], groups in the order of `names`."""
        columns = np.asarray(widths, dtype=np.float64).T
        first, second = (
            length[:, None] + np.rint(entries @ columns).astype(np.int64)
            for length, entries in zip(self.lengths, self.entries, strict=True)
        )
        sizes = self.rest[:, None] * first * second
        if measure == "params":
            return self.fixed_params + sizes.sum(axis=0)
        return self.fixed_macs + (self.positions[:, None] * sizes).sum(axis=0)


def build_cost(
    network: nn.Module,
    groups: Sequence["ChannelGroup"],
    macs: int,
    macs_by_layer: Mapping[str, int],
) -> Cost:
    """The cost of a network as a function of its groups' widths.

    Args:
        network: the network at its current widths.
        groups: all its groups, with their current widths.
        macs: multiply-accumulates of the whole network now.
        macs_by_layer: those of each convolution and linear layer, by module name.

    Raises:
        SurgeryError: a layer's MACs are no whole multiple of its weight's size, so they do not scale with it.
    """
    parameters = dict(network.named_parameters())
    owners: dict[str, list[tuple[int, int, int, int]]] = {}
    for column, group in enumerate(groups):
        for owned in group.slices:
            if owned.tensor in parameters:
                owners.setdefault(owned.tensor, []).append((owned.dim, column, owned.entries, group.width))

    lengths = np.ones((2, len(owners)), dtype=np.int64)
    entries = np.zeros((2, len(owners), len(groups)))
    rest, positions = np.ones(len(owners), dtype=np.int64), np.zeros(len(owners), dtype=np.int64)
    changing_macs = changing_params = 0
    for row, (tensor, parts) in enumerate(owners.items()):
        shape, size = parameters[tensor].shape, parameters[tensor].numel()
        lengths[: len(shape), row] = shape[:2]
        rest[row] = np.prod(shape[2:], dtype=np.int64)
        for dim, column, count, width in parts:
            lengths[dim, row] -= count * width
            entries[dim, row, column] += count
        layer, _, attribute = tensor.rpartition(".")
        layer_macs = macs_by_layer.get(layer, 0) if attribute == "weight" else 0
        if layer_macs % size:
            raise SurgeryError(
                f"{layer} executes {layer_macs} MACs with {size} weights: not a whole number each, so its cost "
                f"at other widths is unknown. Leave its groups out of the prunable layers."
            )
        positions[row] = layer_macs // size
        changing_macs += layer_macs
        changing_params += size
    return Cost(
        names=tuple(group.name for group in groups),
        fixed_macs=macs - changing_macs,
        fixed_params=sum(p.numel() for p in parameters.values()) - changing_params,
        positions=positions,
        rest=rest,
        lengths=lengths,
        entries=entries,
    )
