"""Weights as they were at one moment of a trial, to which the network can go back after channels were removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.surgery.remove import SlicePlan

__all__ = ["Snapshot", "Weights"]

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Snapshot:
    """What `trial.snapshot` gives and `trial.rewind` takes.

    Attributes:
        weights: parameters and buffers by name, as they were.
        removals: how many removals came before.
    """

    weights: Weights = field(repr=False)
    removals: int

    @torch.no_grad()
    def put_into(self, network: nn.Module, removals: Sequence[SlicePlan]) -> None:
        """Sets the network's parameters and buffers in place to those that are still there.

        Args:
            network: of which this was made.
            removals: all of the trial so far, in order.
        """
        weights = dict(self.weights)
        for plan in removals[self.removals :]:
            weights = plan.slice_state(weights)
        for name, tensor in network.state_dict().items():
            tensor.copy_(weights[name])
