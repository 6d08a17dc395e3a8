"""Small networks made by hand: two with what methods most often trip over, and two with what no real one has.

All have batch normalisation, so that methods which need it can be tried. They are known only inside
`bench.checks.method.case.known_networks`; `bench list networks` does not show them.
"""

import torch
from torch import Tensor, nn

from bench.networks.base import Network, NetworkSpec

__all__ = ["Narrow", "Plain", "Residual", "Unprunable"]


class _Residual(nn.Module):
    """`[N, C, S, S]` -> `[N, classes]`: a stem of 16 channels, one block around it, 24 channels, a mean over places."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.channels, 16, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(16, 12, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(12, 16, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.relu3 = nn.ReLU()
        self.conv3 = nn.Conv2d(16, 24, 3, stride=2, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(24)
        self.relu4 = nn.ReLU()
        self.fc = nn.Linear(24, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu1(self.bn1(self.stem(images)))
        inner = self.relu2(self.bn2(self.conv1(maps)))
        maps = self.relu3(self.bn3(self.conv2(inner)) + maps)
        return self.fc(self.relu4(self.bn4(self.conv3(maps))).mean((2, 3)))


class Residual(Network):
    """Batch normalisation and a residual add, which ties the stem to the block's last convolution.

    MACs on 1x28x28: 16*9*14*14 + 2 * 16*12*9*14*14 + 16*24*9*7*7 + 24*10 = 875,184.
    """

    name = "check-residual"
    summary = "a residual block with batch normalisation; for bench check"
    reference = "made by hand"
    input = NetworkSpec(channels=1, size=28, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return _Residual(spec)


class Plain(Network):
    """VGG-16 at a quarter of its widths: five stages, each halving the sides, then a hidden layer."""

    name = "check-plain"
    summary = "thirteen plain convolutions with batch normalisation; for bench check"
    reference = "made by hand, after Simonyan and Zisserman 2015"
    input = NetworkSpec(channels=3, size=32, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        layers: list[nn.Module] = []
        width = spec.channels
        for outputs, depth in ((16, 2), (32, 2), (64, 3), (128, 3), (128, 3)):
            for _ in range(depth):
                layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
                width = outputs
            layers.append(nn.MaxPool2d(2))
        places = (spec.height // 32) * (spec.width // 32)
        hidden = [nn.Flatten(), nn.Linear(width * places, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU()]
        return nn.Sequential(*layers, *hidden, nn.Linear(128, spec.classes))


class _Narrow(nn.Module):
    """`[N, C, S, S]` -> `[N, classes]` through convolutions of 1, 8 and 8 channels and a mean over places."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(spec.channels, 1, 3)
        self.bn1 = nn.BatchNorm2d(1)
        self.conv2 = nn.Conv2d(1, 8, 3)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 3)
        self.bn3 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.bn1(self.conv1(images)))
        maps = torch.relu(self.bn2(self.conv2(maps)))
        return self.fc(torch.relu(self.bn3(self.conv3(maps))).mean((2, 3)))


class Narrow(Network):
    """A network whose first group has one channel."""

    name = "check-narrow"
    summary = "convolutions of 1, 8 and 8 channels; for bench check"
    reference = "made by hand"
    input = NetworkSpec(channels=1, size=28, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return _Narrow(spec)


class Unprunable(Network):
    """One linear layer on normalised pixels: its outputs are the classes, so that no channel may go."""

    name = "check-unprunable"
    summary = "one linear layer; for bench check"
    reference = "made by hand"
    input = NetworkSpec(channels=1, size=28, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        pixels = nn.Sequential(nn.BatchNorm2d(spec.channels), nn.Flatten())
        return nn.Sequential(pixels, nn.Linear(spec.channels * spec.height * spec.width, spec.classes))
