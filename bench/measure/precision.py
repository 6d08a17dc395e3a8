"""The arithmetic that a network runs in, the same where it is trained and where it is measured."""

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["autocast"]


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context that computes in `precision` (`float32` or `bfloat16`)."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
