"""Tries removals on a throw-away copy: does removing equal masking, for random channels of every group?

The dependency graph takes what it does not know for an element-wise operation. A rehearsal finds the groups for
which that is wrong: a channel shuffle, a mean over channels, a width written into `forward`.
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.errors import SurgeryError
from bench.surgery.cost import build_cost
from bench.surgery.groups import ChannelGroup, Groups, LeftOut
from bench.surgery.mask import masked
from bench.surgery.proof import compare, outputs_of
from bench.surgery.remove import plan_removal, resize_network

__all__ = ["randomise", "rehearse"]

_SEED = 20_260_101
_TOLERANCE = 1e-6  # in float64; a wrong index makes a difference near 1


def randomise(network: nn.Module) -> nn.Module:
    """Gives every tensor random values of ordinary size, in place: nothing is zero, so no error hides."""
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.dim() > 1:
                tensor.normal_(0, math.sqrt(2 / tensor[0].numel()), generator=generator)
            else:
                tensor.uniform_(0.5, 1.5, generator=generator)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                if module.running_mean is not None:
                    module.running_mean.normal_(0, 0.1, generator=generator)
                if module.running_var is not None:
                    module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def rehearse(
    network: nn.Module, shape: tuple[int, int, int], groups: Sequence[ChannelGroup]
) -> tuple[list[ChannelGroup], list[LeftOut]]:
    """Separates the groups whose removal equals their mask from those where it does not.

    All groups are tried at once; only if that fails, one after the other, each together with those that passed.

    Args:
        network: a randomised copy, in float64 on the CPU; comes back with the same values.
        shape: one input's shape, (C, H, W).
        groups: the groups found on that copy.
    """
    if not groups or _failure(network, shape, groups) is None:
        return list(groups), []
    passed: list[ChannelGroup] = []
    failed: list[LeftOut] = []
    for group in groups:
        reason = _failure(network, shape, [*passed, group])
        if reason is None:
            passed.append(group)
        else:
            failed.append(LeftOut(group.name, reason))
    return passed, failed


def _failure(network: nn.Module, shape: tuple[int, int, int], chosen: Sequence[ChannelGroup]) -> str | None:
    """Why removing random channels of these groups differs from masking them; None if it does not."""
    generator = torch.Generator().manual_seed(_SEED)
    inputs = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    groups = Groups(tuple(chosen), (), build_cost(network, chosen, 0, {}))
    keep = {group.name: _random_channels(group.width, generator) for group in groups}
    smaller = copy.deepcopy(network)
    try:
        with masked(network, groups, keep):
            expected = outputs_of(network, inputs)
        resize_network(smaller, plan_removal(smaller, groups, keep))
        difference = compare(expected, outputs_of(smaller, inputs))
    except SurgeryError as error:
        return str(error)
    except Exception as error:  # whatever the network's own code raises at other widths
        return f"forward fails at another width: {str(error).splitlines()[0]}"
    if difference.largest <= _TOLERANCE * difference.scale:
        return None
    return f"removing channels is not the same as zeroing them (outputs differ by {difference.largest:.2g})"


def _random_channels(width: int, generator: torch.Generator) -> Tensor:
    share = 0.3 + 0.5 * float(torch.rand(1, generator=generator))
    return torch.randperm(width, generator=generator)[: max(1, round(share * width))]
