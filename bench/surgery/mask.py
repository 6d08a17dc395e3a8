"""Channels off for a while: every entry that a removal would take is zero, until the context is left."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.surgery.groups import Groups
from bench.surgery.keep import Keep, full_keep

__all__ = ["masked"]


@contextmanager
def masked(network: nn.Module, groups: Groups, keep: Keep) -> Iterator[None]:
    """Zeroes in place all that the channels outside `keep` own, and puts it back bitwise on leaving.

    Weights, biases, everything that BatchNorm has of them (running statistics included), and the columns of the
    layers that read the channels: every entry that a removal would take. Only masked entries are put back: what is
    done to the others inside the context stays.

    Raises:
        SurgeryError: `keep` does not fit the groups.
    """
    kept = full_keep(groups, keep)
    tensors: dict[str, Tensor] = dict(network.named_parameters()) | dict(network.named_buffers())
    saved: list[tuple[Tensor, int, Tensor, Tensor]] = []
    try:
        for group in groups:
            off = torch.ones(group.width, dtype=torch.bool)
            off[kept[group.name]] = False
            if not off.any():
                continue
            for owned in group.slices:
                tensor = tensors[owned.tensor]
                index = owned.index[off].flatten().to(tensor.device)
                with torch.no_grad():
                    saved.append((tensor, owned.dim, index, tensor.index_select(owned.dim, index)))
                    tensor.index_fill_(owned.dim, index, 0)
        yield
    finally:
        with torch.no_grad():  # last first: where a row and a column cross, the first copy has the value
            for tensor, dim, index, values in reversed(saved):
                tensor.index_copy_(dim, index, values)
