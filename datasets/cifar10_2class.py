"""The first two classes of CIFAR-10."""

from bench.datasets.cifar10 import Cifar10


class Cifar10TwoClasses(Cifar10):
    """10,000 training and 2,000 test images of CIFAR-10, in stored order.

    Labels 0 and 1: airplane, automobile. Papers that use two classes do not say which; these are the
    first two. Mean and standard deviation are of these images:
    `python -c "from bench.data.splits import statistics; print(statistics('cifar10-2class', 'DIR'))"`.
    """

    name = "cifar10-2class"
    summary = "CIFAR-10's first two classes: airplane, automobile."
    classes = 2
    mean, std = (0.4984, 0.5074, 0.5181), (0.2607, 0.2591, 0.2796)
