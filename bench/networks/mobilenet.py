"""MobileNetV2 for images of CIFAR's size: depthwise convolutions between narrow bottlenecks."""

from torch import nn

from bench.networks.base import Network, NetworkSpec

__all__ = ["MobileNetV2"]

# Expansion, channels, blocks and first stride of each row of the paper's table 2; the strides of the stem and of the
# second row are 1 instead of 2.
ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(Network):
    """torchvision's MobileNetV2 without weights, which keeps 4x4 places of a 32x32 image in its last stage.

    The stem and the second row of the paper's table 2 have stride 1 instead of 2, as is usual on CIFAR, and there is
    no dropout. A depthwise convolution goes with the expansion before it; bottlenecks that meet at a residual
    addition are one group. The activations work on copies, unlike torchvision's, so that what a probe reads from
    a layer is the layer's own output.
    """

    name = "mobilenetv2"
    summary = "MobileNetV2 for CIFAR: inverted residuals with depthwise convolutions, strides of 32x32 images"
    reference = "Sandler et al. 2018, MobileNetV2: inverted residuals and linear bottlenecks, table 2"
    input = NetworkSpec(channels=3, size=32, classes=10)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        from torchvision.models import MobileNetV2 as TorchvisionMobileNetV2

        rows = [list(row) for row in ROWS]
        network = TorchvisionMobileNetV2(spec.classes, inverted_residual_setting=rows, dropout=0.0)
        network.features[0][0] = nn.Conv2d(spec.channels, 32, 3, stride=1, padding=1, bias=False)
        for module in network.modules():
            if isinstance(module, nn.ReLU6):
                module.inplace = False
        return network

    def initialise(self, network: nn.Module) -> None:
        super().initialise(network)
        for module in network.modules():  # torchvision's scheme
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
