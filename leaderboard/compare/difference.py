"""How much two networks differ on the same test images, with an interval: paired by image and by seed.

Each record keeps one bit a test image (`Measured.correct_test`). Two runs on the same images are compared image by
image, which takes out what makes an image hard. The interval of the mean difference adds two variances:

- of the images: of the differences, averaged over seeds image by image. Two made-up images are added, one that each
  side alone gets right (Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial
  proportions based on paired data"), so that a difference of a few images is not taken for certain;
- of the seeds: of the differences of whole runs, where there are two seeds or more. With one seed the interval speaks
  of that seed's networks alone.

The sum counts what seeds and images have in common twice: it errs towards wide intervals. Quantiles are Student's, with
Welch and Satterthwaite's degrees of freedom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.stats.correct_bits import Bits, checked_bits
from bench.records.record import Measured

__all__ = ["AccuracyDifference", "McNemar", "difference", "mcnemar"]


@dataclass(frozen=True)
class AccuracyDifference:
    """Top-1 of the second network minus that of the first, on test, as fractions.

    Attributes:
        mean: over the seeds.
        standard_error: of the mean; None where neither images nor seeds tell it.
        degrees: of freedom of the Student quantile.
        seeds: number of pairs of runs.
        images: number of test images; None where the records do not hold the same images' bits.
    """

    mean: float
    standard_error: float | None
    degrees: float
    seeds: int
    images: int | None

    def half_width(self, confidence: float) -> float | None:
        """Half the width of the two-sided interval; None where the standard error is not known."""
        if self.standard_error is None:
            return None
        from scipy.special import stdtrit

        return float(stdtrit(self.degrees, (1 + confidence) / 2)) * self.standard_error


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two networks on the same images.

    Attributes:
        only_first, only_second: images that one of them alone gets right.
        p: two-sided, by the binomial distribution.
    """

    only_first: int
    only_second: int
    p: float


def difference(pairs: Sequence[tuple[Measured, Measured]]) -> AccuracyDifference:
    """The mean difference of pairs of runs, one pair a seed, on the same test images.

    Bits that are missing, damaged or of different images are not used: the mean is that of `top1_test` then, and its
    error is known by the seeds alone.
    """
    gains = [second.top1_test - first.top1_test for first, second in pairs]
    by_seeds = variance(gains) / len(gains) if len(gains) > 1 else 0.0
    by_image = _by_image(pairs)
    if by_image is None:
        error = math.sqrt(by_seeds) if len(gains) > 1 else None
        return AccuracyDifference(fmean(gains), error, max(len(gains) - 1, 1), len(gains), None)
    smoothed = np.concatenate([by_image, [1.0, -1.0]])
    by_images = float(smoothed.var(ddof=1)) / len(smoothed)
    total = by_images + by_seeds
    squares = by_images**2 / (len(smoothed) - 1) + (by_seeds**2 / (len(gains) - 1) if len(gains) > 1 else 0.0)
    return AccuracyDifference(fmean(gains), math.sqrt(total), total**2 / squares, len(gains), len(by_image))


def mcnemar(first: Measured, second: Measured) -> McNemar | None:
    """The exact test of one pair of runs; None where the records do not hold the same images' bits."""
    both = _pair(first, second)
    if both is None:
        return None
    from scipy.stats import binomtest

    only_first, only_second = int((both[0] & ~both[1]).sum()), int((both[1] & ~both[0]).sum())
    apart = only_first + only_second
    p = float(binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0
    return McNemar(only_first, only_second, p)


def _by_image(pairs: Sequence[tuple[Measured, Measured]]) -> NDArray[np.float64] | None:
    """Second minus first for each image, mean over seeds, `[images]`."""
    every = [_pair(first, second) for first, second in pairs]
    known = [each for each in every if each is not None]
    if not known or len(known) < len(every) or len({len(first) for first, _ in known}) > 1:
        return None
    gains = [second.astype(np.float64) - first.astype(np.float64) for first, second in known]
    mean: NDArray[np.float64] = np.mean(gains, axis=0)
    return mean


def _pair(first: Measured, second: Measured) -> tuple[Bits, Bits] | None:
    try:
        both = checked_bits(first), checked_bits(second)
    except ValueError:
        return None
    if both[0] is None or both[1] is None or len(both[0]) != len(both[1]):
        return None
    return both[0], both[1]
