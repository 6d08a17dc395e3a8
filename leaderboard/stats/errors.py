"""The scale that rows are compared on: the logarithm of the error rate, so that a difference is a ratio of errors.

An error rate e on n images has the binomial variance e (1 - e) / n; its logarithm has (1 - e) / (e n). Variances are
therefore pooled in units of (1 - e) / e, in which they are the same at 80 % and at 99 % (those of 2 arcsin(sqrt(e)), to
first order), while differences are taken of the logarithms, which tell a row with a large and uneven error from the
others more often: docs/ranking.md has the simulation of both.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNKNOWN_IMAGES", "binomial_unit", "log_error", "points", "points_margin", "rounding_variance"]

Floats = NDArray[np.float64]

UNKNOWN_IMAGES = 10_000
"""Taken for the number of test images where no record tells it; it decides only how an error of zero is read."""


def log_error(error: Floats, images: int = UNKNOWN_IMAGES) -> Floats:
    """ln of the error rate, with half an error added to the wrong and one image to all, so that none wrong is finite.

    Args:
        error: fractions, of any shape; nan stays nan.
        images: number of test images.
    """
    shrunk: Floats = np.log((error * images + 0.5) / (images + 1))
    return shrunk


def binomial_unit(log_mean: Floats) -> Floats:
    """(1 - e) / e at e = exp(log_mean): the binomial variance of ln e, times the number of images."""
    error = np.minimum(np.exp(log_mean), 1 - 1e-6)
    unit: Floats = (1 - error) / error
    return unit


def rounding_variance(log_mean: Floats, images: int = UNKNOWN_IMAGES) -> Floats:
    """The variance of rounding to whole images, in binomial units: seeds that agree by it say nothing of their spread.

    One image is 1 / n, and rounding to steps of s has the variance s^2 / 12 (Sheppard).
    """
    error = np.minimum(np.exp(log_mean), 1 - 1e-6)
    variance: Floats = 1 / (12 * images**2 * error * (1 - error))
    return variance


def points(log_middle: Floats, difference: Floats) -> Floats:
    """The difference of two error rates whose logarithms differ by `difference` around `log_middle`, as a fraction.

    exp(m + d / 2) - exp(m - d / 2) = 2 exp(m) sinh(d / 2).
    """
    found: Floats = 2 * np.exp(log_middle) * np.sinh(difference / 2)
    return found


def points_margin(log_middle: Floats, fraction: Floats | float) -> Floats:
    """The other way round: the difference of logarithms around `log_middle` that is so large a fraction of images."""
    found: Floats = 2 * np.arcsinh(fraction / (2 * np.exp(log_middle)))
    return found
