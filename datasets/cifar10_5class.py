"""The first five classes of CIFAR-10."""

from bench.datasets.cifar10 import Cifar10


class Cifar10FiveClasses(Cifar10):
    """25,000 training and 5,000 test images of CIFAR-10, in stored order.

    Labels 0 to 4: airplane, automobile, bird, cat, deer. Papers that use five classes do not all say which;
    these are the first five. Mean and standard deviation are of these images:
    `python -c "from bench.data.splits import statistics; print(statistics('cifar10-5class', 'DIR'))"`.
    """

    name = "cifar10-5class"
    summary = "CIFAR-10's first five classes: airplane, automobile, bird, cat, deer."
    classes = 5
    mean, std = (0.4906, 0.4856, 0.4508), (0.2454, 0.2415, 0.2620)
