"""What a walk's agent sees of each channel group before it is walked: AMC's description of a layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    from bench.surgery import ChannelGroup

__all__ = ["FEATURES", "describe_groups"]

_FIXED = 7
FEATURES = _FIXED + 3
"""Length of an observation: what is fixed, then what was removed so far, what can still be, and the last share."""


def describe_groups(groups: Sequence["ChannelGroup"], network: nn.Module) -> NDArray[np.float64]:
    """Fixed features [G, 7], each min-max scaled over the groups; 0 where all groups are alike.

    Index, type (0 convolution, 1 linear), input channels, output channels, stride, kernel size, weights.
    """
    rows = []
    for index, group in enumerate(groups):
        layer = network.get_submodule(group.layers[0])
        weights = sum(weight.numel() for weight in group.weights)
        if isinstance(layer, nn.Conv2d):
            shape = (layer.in_channels, group.width, layer.stride[0], layer.kernel_size[0])
            rows.append([index, 0, *shape, weights])
        else:
            rows.append([index, 1, group.weight.shape[-1], group.width, 1, 1, weights])
    table = np.array(rows, dtype=np.float64)
    low, high = table.min(0), table.max(0)
    return np.divide(table - low, high - low, out=np.zeros_like(table), where=high > low)
