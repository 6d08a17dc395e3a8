"""AlexNet in torchvision's form: five convolutions, then three fully connected layers with dropout."""

from torch import nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec

__all__ = ["AlexNet"]

_SMALLEST = 63  # the third pooling would have nothing left of a smaller image


class AlexNet(Network):
    """torchvision's AlexNet without weights, its classifier sized to the classes.

    Its convolutions may be pruned. The activations work on copies, unlike torchvision's, so that what a probe
    reads from a convolution is the convolution's own output.
    """

    name = "alexnet"
    summary = "AlexNet as in torchvision: 5 convolutions, then 4096-4096-classes"
    reference = "Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks"
    input = NetworkSpec(channels=3, size=224, classes=1000)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        from torchvision.models import alexnet

        if min(spec.height, spec.width) < _SMALLEST:
            raise UsageError(
                f"alexnet needs images of {_SMALLEST}x{_SMALLEST} or more, not {spec.height}x{spec.width}. "
                "Scale them up."
            )
        network = alexnet(weights=None, num_classes=spec.classes)
        if spec.channels != 3:
            first = network.features[0]
            network.features[0] = nn.Conv2d(spec.channels, first.out_channels, 11, stride=4, padding=2)
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        return network
