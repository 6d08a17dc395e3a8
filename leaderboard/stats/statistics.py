"""The tests behind a ranking, as functions of arrays: paired t, Holm, a paired bootstrap over test images.

Many pairs are tested at once, a column each. `scipy.stats` has the paired t-test too, but takes a pass in Python for
each column with a missing seed; the distribution itself is scipy's.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.stats.estimate import CONFIDENCE

__all__ = ["Paired", "holm", "image_half_width", "image_intervals", "paired_t"]

Floats = NDArray[np.float64]

RESAMPLES = 1000
_SEED = 20131  # of the resampled test images: the same for every pair, so that a pair's interval is its own
_BLOCK = 1000  # images at a time, of products
_RESAMPLES_BLOCK = 100  # resamples at a time, of draws
_Z = 1.959963984540054


@dataclass(frozen=True)
class Paired:
    """Paired tests, one a column.

    Attributes:
        n: pairs of values.
        mean: mean difference; nan without a pair.
        half_width: half the width of its 95 % Student interval; nan for fewer than two pairs.
        p: two-sided p of no difference; nan for fewer than two pairs.
    """

    n: NDArray[np.int64]
    mean: Floats
    half_width: Floats
    p: Floats


def paired_t(differences: Floats, resolution: float = 0.0) -> Paired:
    """Paired t-tests of many columns at once.

    Where all differences of a column are equal, t is infinite: p is 0, or 1 where they are all 0.

    Args:
        differences: `[seeds, columns]`, nan where one of the two has no value.
        resolution: the smallest standard deviation that is believed. An accuracy on n images is a multiple of 1 / n:
            three seeds that happen to differ by the same single image say nothing of the spread between seeds.
    """
    from scipy.special import stdtr, stdtrit

    known = ~np.isnan(differences)
    n = known.sum(axis=0)
    some, two = np.maximum(n, 1), np.maximum(n, 2)
    mean = np.where(known, differences, 0.0).sum(axis=0) / some
    squares = np.where(known, differences - mean, 0.0) ** 2
    deviation = np.maximum(np.sqrt(squares.sum(axis=0) / (two - 1)), resolution)
    deviation[deviation < 1e-12] = 0.0  # differences of decimal fractions are not exact
    mean[np.abs(mean) < 1e-12] = 0.0
    error = deviation / np.sqrt(two)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, np.abs(mean) / error)
    p = 2 * stdtr(two - 1.0, -t)
    half_width = stdtrit(two - 1.0, (1 + CONFIDENCE) / 2) * error
    return Paired(n, np.where(n < 1, np.nan, mean), np.where(n < 2, np.nan, half_width), np.where(n < 2, np.nan, p))


def holm(p: Floats) -> Floats:
    """Holm's step-down correction (Holm 1979): p values that may each be held against the level of the whole family.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is smaller than the one before it.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def image_intervals(
    correct: NDArray[np.integer], seeds: int, first: NDArray[np.intp], second: NDArray[np.intp]
) -> Floats:
    """Percentile intervals (95 %) of differences of accuracy when the test images are drawn again.

    A paired bootstrap: both rows of a pair are scored on the same redrawn images. The trained networks stay as they
    are, so that this is the uncertainty of the test images alone.

    Args:
        correct: `[rows, images]`, in how many seeds the row is right on the image.
        seeds: number of seeds.
        first, second: the pairs, as row numbers.

    Returns:
        `[pairs, 2]`, accuracy of first minus second.
    """
    images = correct.shape[1]
    # an image that all rows do equally well on adds nothing to any difference, however often it is drawn
    telling = np.flatnonzero((correct != correct[0]).any(axis=0))
    drawn = _redrawn(images)
    sums = np.zeros((len(correct), RESAMPLES), dtype=np.float32)
    for at in range(0, len(telling), _BLOCK):
        block = telling[at : at + _BLOCK]
        sums += correct[:, block].astype(np.float32) @ drawn[block].astype(np.float32)  # whole numbers: exact
    tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    differences: Floats = (sums[first] - sums[second]).astype(np.float64) / (images * seeds)
    intervals: Floats = np.quantile(differences, tails, axis=1).T
    return intervals


def image_half_width(variance: float, images: int) -> float:
    """1.96 sqrt(variance / images): what the test images alone leave open about a difference of accuracies.

    Args:
        variance: over the images, of the difference of the two correct bits. For two networks with the same accuracy
            p that err independently of each other this is 2 p (1 - p); networks that err on the same images have less.
        images: number of test images.
    """
    return _Z * float(np.sqrt(variance / images))


@lru_cache(maxsize=2)
def _redrawn(images: int) -> NDArray[np.uint8]:
    """`[images, resamples]`: how often each image is drawn, when as many as there are are drawn with replacement."""
    generator = np.random.default_rng([_SEED, images])
    counts = np.empty((images, RESAMPLES), dtype=np.uint8)
    for at in range(0, RESAMPLES, _RESAMPLES_BLOCK):
        columns = min(_RESAMPLES_BLOCK, RESAMPLES - at)
        draws = generator.integers(0, images, size=(columns, images), dtype=np.int64)
        draws += images * np.arange(columns)[:, None]
        found = np.bincount(draws.ravel(), minlength=columns * images).reshape(columns, images)
        counts[:, at : at + columns] = np.minimum(found, 255).T
    return counts
