"""Which channels stay: what methods write, checked and brought to one form."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.errors import SurgeryError, unknown_name
from bench.surgery.groups import ChannelGroup, Groups

__all__ = ["Keep", "full_keep"]

Keep = Mapping[str, Tensor]
"""Group name -> the channels that stay: indices (long [kept]) or a mask (bool [width]). Groups that are not
named are kept whole."""


def full_keep(groups: Groups, keep: Keep) -> dict[str, Tensor]:
    """The kept channels of every group: sorted long indices on the CPU.

    Raises:
        SurgeryError: a group is unknown, would be empty, or its channels are out of range or named twice.
    """
    known = groups.widths
    for name in keep:
        if name not in known:
            raise SurgeryError(str(unknown_name("channel group", name, known)))
    return {
        group.name: _indices(group, keep[group.name]) if group.name in keep else torch.arange(group.width)
        for group in groups
    }


def _indices(group: ChannelGroup, kept: Tensor) -> Tensor:
    kept = torch.as_tensor(kept).detach().cpu()
    where = f"channel group {group.name!r} (width {group.width})"
    if kept.dim() != 1:
        raise SurgeryError(f"{where}: kept channels of shape {list(kept.shape)}. Give a vector.")
    if kept.numel() == 0 or (kept.dtype == torch.bool and not kept.any()):
        raise SurgeryError(f"{where} would be empty, and no group is ever empty. Keep one channel or more.")
    if kept.dtype == torch.bool:
        if len(kept) != group.width:
            raise SurgeryError(f"{where}: a mask of {len(kept)} entries. Give one for each channel.")
        return kept.nonzero().flatten()
    if kept.is_floating_point() or kept.is_complex():
        raise SurgeryError(f"{where}: kept channels as {kept.dtype}. Give integer indices or a bool mask.")
    indices = kept.long().sort().values
    if indices[0] < 0 or indices[-1] >= group.width:
        raise SurgeryError(
            f"{where}: channels {int(indices[0])} to {int(indices[-1])} are out of range. Use 0 to {group.width - 1}."
        )
    if bool((indices.diff() == 0).any()):
        twice = indices[1:][indices.diff() == 0]
        raise SurgeryError(f"{where}: channel {int(twice[0])} is kept twice. Name each channel once.")
    return indices
