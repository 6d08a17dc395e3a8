"""VGG-16 in the form that pruning papers use on CIFAR: batch normalisation and one hidden layer of 512."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec, he_normal

__all__ = ["VGG16"]

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class _VGG(nn.Module):
    """`[N, C, H, W]` -> `[N, classes]`: stages of 3x3 convolutions, each halving the sides; then 512."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        height, columns = (side // 2 ** len(STAGES) for side in (spec.height, spec.width))
        if min(height, columns) < 1:
            raise UsageError(f"vgg16 needs images of 32x32 or more, not {spec.height}x{spec.width}. Scale them up.")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = spec.channels
        for stage, outputs in enumerate(STAGES, start=1):
            for place, output in enumerate(outputs, start=1):
                # The bias would be cancelled by the batch normalisation that follows.
                layers[f"conv{stage}_{place}"] = nn.Conv2d(width, output, 3, padding=1, bias=False)
                layers[f"bn{stage}_{place}"] = nn.BatchNorm2d(output)
                layers[f"relu{stage}_{place}"] = nn.ReLU()
                width = output
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
        self.features = nn.Sequential(layers)
        self.fc1 = nn.Linear(width * height * columns, 512, bias=False)
        self.bn1 = nn.BatchNorm1d(512)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(512, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.fc1(torch.flatten(self.features(images), 1))
        return self.fc2(self.relu1(self.bn1(hidden)))


class VGG16(Network):
    """VGG-16 for CIFAR: 13 convolutions and two fully connected layers, without dropout."""

    name = "vgg16"
    summary = "VGG-16 for CIFAR: 13 convolutions with batch normalisation, then 512-10"
    reference = "Li et al. 2017, Pruning filters for efficient ConvNets, after Simonyan and Zisserman 2015"
    input = NetworkSpec(channels=3, size=32, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        return _VGG(spec)

    def initialise(self, network: nn.Module) -> None:
        super().initialise(network)
        he_normal(network)
