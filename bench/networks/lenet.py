"""The two LeNets of the pruning papers: 300-100 fully connected, and Caffe's convolutional 20-50-500."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec

__all__ = ["LeNet5", "LeNet300"]


class _LeNet300(nn.Module):
    """`[N, C, H, W]` -> `[N, classes]` through two hidden layers of 300 and 100 units."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.fc1 = nn.Linear(spec.channels * spec.height * spec.width, 300)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(300, 100)
        self.relu2 = nn.ReLU()
        self.fc3 = nn.Linear(100, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu1(self.fc1(torch.flatten(images, 1)))
        return self.fc3(self.relu2(self.fc2(hidden)))


class LeNet300(Network):
    """LeNet-300-100. The hidden units of both hidden layers may be pruned."""

    name = "lenet300"
    summary = "LeNet-300-100: fully connected, 784-300-100-10"
    reference = "LeCun et al. 1998, Gradient-based learning applied to document recognition"
    input = NetworkSpec(channels=1, size=28, classes=10)
    prunable: ClassVar[tuple[str, ...] | None] = ("fc1", "fc2")

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return _LeNet300(spec)


class _LeNet5(nn.Module):
    """`[N, C, H, W]` -> `[N, classes]`: conv-pool-conv-pool-fc-relu-fc, 5x5 convolutions without padding."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        height, width = (((side - 4) // 2 - 4) // 2 for side in (spec.height, spec.width))
        if min(height, width) < 1:
            raise UsageError(f"lenet5 needs images of 16x16 or more, not {spec.height}x{spec.width}. Scale them up.")
        self.conv1 = nn.Conv2d(spec.channels, 20, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(50 * height * width, 500)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(500, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool1(self.conv1(images))
        maps = self.pool2(self.conv2(maps))
        return self.fc2(self.relu1(self.fc1(torch.flatten(maps, 1))))


class LeNet5(Network):
    """Caffe's LeNet-5, which has no activation after its convolutions. Those may be pruned."""

    name = "lenet5"
    summary = "Caffe's LeNet-5: convolutions of 20 and 50, then 500-10"
    reference = "Caffe's examples/mnist/lenet.prototxt, after LeCun et al. 1998"
    input = NetworkSpec(channels=1, size=28, classes=10)
    prunable: ClassVar[tuple[str, ...] | None] = ("conv1", "conv2")

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return _LeNet5(spec)
