"""Fresh BatchNorm statistics, for a while: after masking or removal the old ones no longer fit the activations."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["batch_statistics", "collecting", "needs_recalibration", "recalibrating"]


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def needs_recalibration(network: nn.Module) -> bool:
    """Whether the network has running statistics at all."""
    return bool(_norms(network))


@contextmanager
def recalibrating(network: nn.Module) -> Iterator[None]:
    """Inside, `collect` may be used; on leaving, the old statistics are back, bit by bit."""
    norms = _norms(network)
    kept = [{name: buffer.clone() for name, buffer in norm.named_buffers(recurse=False)} for norm in norms]
    try:
        yield
    finally:
        with torch.no_grad():
            for norm, buffers in zip(norms, kept, strict=True):
                for name, value in buffers.items():
                    getattr(norm, name).copy_(value)


@contextmanager
def collecting(network: nn.Module) -> Iterator[None]:
    """Forwards inside replace the running statistics by the plain average over their batches.

    The rest of the network stays in evaluation mode (no dropout), and nothing but the statistics changes.
    """
    norms = _norms(network)
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.training = True
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.training = False


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Inside, BatchNorm normalises by each batch's own statistics, and the rest is in evaluation mode (no dropout).

    On leaving, the running statistics are as before, bit by bit, and all of the network is in evaluation mode.
    """
    with recalibrating(network):
        network.eval()
        for norm in _norms(network):
            norm.training = True
        try:
            yield
        finally:
            network.eval()
