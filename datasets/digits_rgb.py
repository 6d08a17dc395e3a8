"""scikit-learn's bundled handwritten digits, at CIFAR's shape."""

from bench.datasets.digits import Digits


class DigitsRgb(Digits):
    """The images and the split of `digits`, scaled to 32x32 and repeated in three channels, 3x32x32.

    For trying networks of CIFAR's shape without a download, not for comparing methods. Mean and standard
    deviation: `python -c "from bench.data.splits import statistics; print(statistics('digits-rgb', '.'))"`.
    """

    name = "digits-rgb"
    summary = "scikit-learn's 1,797 handwritten digits at CIFAR's shape, 3x32x32; bundled, no download."
    channels, size = 3, 32
    mean, std = (0.3055,) * 3, (0.3236,) * 3
