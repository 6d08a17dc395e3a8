"""The networks that surgery is held against: those that people prune, of timm and torchvision, and a U-Net."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.networks.base import NetworkSpec
from bench.networks.registry import network

__all__ = ["SURVEYED", "Surveyed"]


class UNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015) with transposed convolutions; outputs `[N, classes, S, S]`."""

    def __init__(self, classes: int = 5, width: int = 16) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for first in (inputs, outputs):
                layers += [nn.Conv2d(first, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            return nn.Sequential(*layers)

        self.down1, self.down2, self.bottom = double(3, width), double(width, 2 * width), double(2 * width, 4 * width)
        self.up2, self.merge2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2), double(4 * width, 2 * width)
        self.up1, self.merge1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2), double(2 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down1(images)
        second = self.down2(F.max_pool2d(first, 2))
        bottom = self.bottom(F.max_pool2d(second, 2))
        second = self.merge2(torch.cat([self.up2(bottom), second], 1))
        return self.head(self.merge1(torch.cat([self.up1(second), first], 1)))


@dataclass(frozen=True)
class Surveyed:
    """A network by the name that `bench groups` takes, or made by a function, and the size that it is tried at."""

    name: str
    size: int = 64
    make: Callable[[], nn.Module] | None = None
    least_share: float = 0.95

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return 3, self.size, self.size

    def build(self, classes: int = 10) -> nn.Module:
        """The network with fresh weights from seed 0."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make() if self.make else network(self.name).build(NetworkSpec(3, self.size, classes))


def _googlenet() -> nn.Module:
    from torchvision.models import googlenet

    return googlenet(num_classes=10, init_weights=False)  # with its auxiliary heads, which only training has


_CONVOLUTIONAL = (
    "timm:resnet18",
    "timm:resnet50",
    "torchvision:vgg16_bn",
    "timm:mobilenetv2_100",
    "timm:mobilenetv3_small_100",
    "timm:efficientnet_b0",
    "timm:densenet121",
    "timm:regnety_002",
    "timm:resnext50_32x4d",
    "torchvision:shufflenet_v2_x1_0",
    "timm:dpn68",
    "timm:mixnet_s",
    "timm:skresnet18",
    "timm:resnest14d",
    "timm:nf_regnet_b0",
    "timm:ghostnet_100",
    "timm:hrnet_w18_small",
)

SURVEYED = (
    *(Surveyed(name) for name in _CONVOLUTIONAL),
    Surveyed("timm:convnext_atto", least_share=0.85),
    Surveyed("googlenet with auxiliary heads", 96, _googlenet),
    Surveyed("timm:inception_v3", 96),
    Surveyed("a U-Net", 32, UNet),
    Surveyed("timm:vit_tiny_patch16_224", least_share=0.0),
    Surveyed("timm:deit_tiny_patch16_224", least_share=0.0),
    Surveyed("timm:swin_tiny_patch4_window7_224", 224, least_share=0.0),
    Surveyed("torchvision:vit_b_16", least_share=0.0),
)
