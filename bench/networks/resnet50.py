"""ResNet-50 in torchvision's form, for images of ImageNet's size; the CIFAR ResNets are in `bench.networks.resnet`."""

from torch import nn

from bench.networks.base import Network, NetworkSpec

__all__ = ["ResNet50"]


class ResNet50(Network):
    """torchvision's ResNet-50 without weights: bottlenecks with the stride on the 3x3 convolution.

    All its channels may be pruned; those that meet at a residual addition are one group. The activations work on
    copies, unlike torchvision's, so that what a probe reads from a layer is the layer's own output.
    """

    name = "resnet50"
    summary = "ResNet-50 as in torchvision, for ImageNet"
    reference = "He et al. 2016, Deep residual learning for image recognition, table 1"
    input = NetworkSpec(channels=3, size=224, classes=1000)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        from torchvision.models import resnet50

        network = resnet50(weights=None, num_classes=spec.classes)
        if spec.channels != 3:
            network.conv1 = nn.Conv2d(spec.channels, 64, 7, stride=2, padding=3, bias=False)
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        return network

    def initialise(self, network: nn.Module) -> None:
        super().initialise(network)
        for module in network.modules():  # torchvision's scheme: by what a channel feeds
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
