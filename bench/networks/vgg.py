"""VGG-16 and VGG-19 in the forms that pruning papers use on CIFAR: with batch normalisation and small classifiers."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec, he_normal

__all__ = ["VGG16", "VGG19"]

STAGES_16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
STAGES_19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


def _features(channels: int, stages: tuple[tuple[int, ...], ...], pools: int) -> nn.Sequential:
    """Stages of 3x3 convolutions; each of the first `pools` stages halves the side."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = channels
    for stage, outputs in enumerate(stages, start=1):
        for place, output in enumerate(outputs, start=1):
            # The bias would be cancelled by the batch normalisation that follows.
            layers[f"conv{stage}_{place}"] = nn.Conv2d(width, output, 3, padding=1, bias=False)
            layers[f"bn{stage}_{place}"] = nn.BatchNorm2d(output)
            layers[f"relu{stage}_{place}"] = nn.ReLU()
            width = output
        if stage <= pools:
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


class _VGG16(nn.Module):
    """`[N, C, H, W]` -> `[N, classes]`: five stages, each halving the sides; then a hidden layer of 512."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.features = _features(spec.channels, STAGES_16, pools=5)
        places = (spec.height // 2**5) * (spec.width // 2**5)
        self.fc1 = nn.Linear(512 * places, 512, bias=False)
        self.bn1 = nn.BatchNorm1d(512)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(512, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.fc1(torch.flatten(self.features(images), 1))
        return self.fc2(self.relu1(self.bn1(hidden)))


class _VGG19(nn.Module):
    """`[N, C, H, W]` -> `[N, classes]`: five stages, the last without a pooling; then the mean over places."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.features = _features(spec.channels, STAGES_19, pools=4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.features(images)), 1))


class _CifarVGG(Network):
    """A VGG for images of CIFAR's size, He-initialised, without dropout."""

    input = NetworkSpec(channels=3, size=32, classes=10)
    modules: type[nn.Module]
    smallest: int

    def construct(self, spec: NetworkSpec) -> nn.Module:
        if min(spec.height, spec.width) < self.smallest:
            least = f"{self.smallest}x{self.smallest}"
            raise UsageError(
                f"{self.name} needs images of {least} or more, not {spec.height}x{spec.width}. Scale them up."
            )
        return self.modules(spec)

    def initialise(self, network: nn.Module) -> None:
        super().initialise(network)
        he_normal(network)


class VGG16(_CifarVGG):
    """VGG-16 for CIFAR: 13 convolutions and two fully connected layers."""

    name = "vgg16"
    summary = "VGG-16 for CIFAR: 13 convolutions with batch normalisation, then 512-10"
    reference = "Li et al. 2017, Pruning filters for efficient ConvNets, after Simonyan and Zisserman 2015"
    modules = _VGG16
    smallest = 32


class VGG19(_CifarVGG):
    """VGG-19 for CIFAR: 16 convolutions and one fully connected layer, as slimming, GraSP and DepGraph prune it.

    Batch normalisation's scales begin at 1, not at slimming's 0.5.
    """

    name = "vgg19"
    summary = "VGG-19 for CIFAR: 16 convolutions with batch normalisation, then the classes"
    reference = "Liu et al. 2017, Learning efficient convolutional networks through network slimming, section 4.1"
    modules = _VGG19
    smallest = 16
