"""The state in which a network is measured: eval mode, without gradients, left as it was found."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

__all__ = ["device_of", "dtype_of", "measuring"]


def device_of(network: nn.Module) -> torch.device:
    """The device of the network's first parameter or buffer; the CPU if it has none."""
    first = next(chain(network.parameters(), network.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def dtype_of(network: nn.Module) -> torch.dtype:
    """The dtype of the network's first floating-point parameter; float32 if it has none."""
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)


@contextmanager
def measuring(*networks: nn.Module) -> Iterator[None]:
    """Within it the networks are in eval mode; on leaving, every module is in the mode it had before."""
    before = {module: module.training for network in networks for module in network.modules()}
    modes = [network.training for network in networks]
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        # Some networks drop what they cached in eval mode when train() is called, so it is; it is not exact.
        for network, training in zip(networks, modes, strict=True):
            network.train(training)
        for module, training in before.items():
            module.training = training
