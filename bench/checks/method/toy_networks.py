"""Two networks made by hand for what no real one has: a group of one channel from the start, and nothing to prune.

They are known only inside `bench.checks.method.case.Case.run`; `bench list networks` does not show them.
"""

import torch
from torch import Tensor, nn

from bench.networks.base import Network, NetworkSpec

__all__ = ["Narrow", "Unprunable"]


class _Narrow(nn.Module):
    """`[N, C, S, S]` -> `[N, classes]` through convolutions of 1, 8 and 8 channels and a mean over places."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(spec.channels, 1, 3)
        self.conv2 = nn.Conv2d(1, 8, 3)
        self.conv3 = nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(images)))))
        return self.fc(torch.relu(maps).mean((2, 3)))


class Narrow(Network):
    """A network whose first group has one channel."""

    name = "check-narrow"
    summary = "convolutions of 1, 8 and 8 channels; for bench check"
    reference = "made by hand"
    input = NetworkSpec(channels=1, size=28, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return _Narrow(spec)


class Unprunable(Network):
    """One linear layer: its outputs are the classes, so that no channel may go."""

    name = "check-unprunable"
    summary = "one linear layer; for bench check"
    reference = "made by hand"
    input = NetworkSpec(channels=1, size=28, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(spec.channels * spec.height * spec.width, spec.classes))
