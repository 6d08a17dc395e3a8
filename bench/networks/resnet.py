"""The CIFAR ResNets of He et al. (2016, section 4.2): 16, 32 and 64 channels, depth 6n + 2; MLPerf Tiny's is n = 1.

A shortcut between stages is a 1x1 convolution with batch normalisation (the paper's option B), so that
channels can be removed from either side of it; option A's zero padding would tie the widths of different
stages.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.networks.base import Network, NetworkSpec, he_normal

__all__ = ["ResNet8", "ResNet20", "ResNet32", "ResNet56", "ResNet110"]

WIDTHS = (16, 32, 64)


class _Shortcut(nn.Module):
    """A projection `[N, inputs, S, S]` -> `[N, outputs, S / stride, S / stride]`."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return self.bn(self.conv(maps))


class _Block(nn.Module):
    """Two 3x3 convolutions and their shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _Shortcut(inputs, outputs, stride)
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(maps)))))
        return self.relu2(residual + self.shortcut(maps))


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    """`blocks` blocks of equal width, the first of which changes it."""
    rest = [_Block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(_Block(inputs, outputs, stride), *rest)


class _ResNet(nn.Module):
    """`[N, C, S, S]` -> `[N, classes]` with `blocks` blocks in each of the three stages."""

    def __init__(self, spec: NetworkSpec, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(spec.channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu1 = nn.ReLU()
        self.stage1 = _stage(WIDTHS[0], WIDTHS[0], 1, blocks)
        self.stage2 = _stage(WIDTHS[0], WIDTHS[1], 2, blocks)
        self.stage3 = _stage(WIDTHS[1], WIDTHS[2], 2, blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[2], spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu1(self.bn1(self.conv1(images)))
        maps = self.stage3(self.stage2(self.stage1(maps)))
        return self.fc(torch.flatten(self.pool(maps), 1))


class _CifarResNet(Network):
    """A CIFAR ResNet of depth 6 `blocks` + 2, He-initialised."""

    blocks: ClassVar[int]
    reference = "He et al. 2016, Deep residual learning for image recognition, section 4.2"
    input = NetworkSpec(channels=3, size=32, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return _ResNet(spec, self.blocks)

    def initialise(self, network: nn.Module) -> None:
        super().initialise(network)
        he_normal(network)


class ResNet8(_CifarResNet):
    """ResNet-8: one block a stage, MLPerf Tiny's network for image classification.

    Theirs has biases in its convolutions, which batch normalisation cancels, and no batch normalisation on its
    shortcuts; the convolutions, and so the MACs, are the same.
    """

    name = "resnet8"
    summary = "ResNet-8 for CIFAR, MLPerf Tiny's: one block a stage, 1x1 projection shortcuts"
    reference = "Banbury et al. 2021, MLPerf Tiny benchmark, after He et al. 2016, section 4.2"
    blocks = 1


class ResNet20(_CifarResNet):
    """ResNet-20: three blocks a stage."""

    name = "resnet20"
    summary = "ResNet-20 for CIFAR, 1x1 projection shortcuts"
    blocks = 3


class ResNet32(_CifarResNet):
    """ResNet-32: five blocks a stage."""

    name = "resnet32"
    summary = "ResNet-32 for CIFAR, 1x1 projection shortcuts"
    blocks = 5


class ResNet56(_CifarResNet):
    """ResNet-56: nine blocks a stage."""

    name = "resnet56"
    summary = "ResNet-56 for CIFAR, 1x1 projection shortcuts"
    blocks = 9


class ResNet110(_CifarResNet):
    """ResNet-110: eighteen blocks a stage."""

    name = "resnet110"
    summary = "ResNet-110 for CIFAR, 1x1 projection shortcuts"
    blocks = 18
