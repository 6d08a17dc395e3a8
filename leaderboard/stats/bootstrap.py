"""Intervals of differences of accuracy when test images and seeds are drawn again: does it hold for other images?

Seeds on one test set say nothing about other images. Images are redrawn, the same for both rows of a pair, and the
seeds of each row, apart (the "pigeonhole" bootstrap of Owen 2007, which errs towards wide intervals). A test by images
alone, of a table with too few seeds, is `image_half_width`.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "RESAMPLES", "image_half_width", "image_seed_intervals"]

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1000
_SEED = 20131  # of what is drawn: the same for every pair, so that a pair's interval is its own
_BLOCK = 2000  # images at a time, of products
_RESAMPLES_BLOCK = 100  # resamples at a time, of draws
_Z = 1.959963984540054


def image_seed_intervals(
    correct: Sequence[NDArray[np.integer]], first: NDArray[np.intp], second: NDArray[np.intp]
) -> Floats:
    """Percentile intervals (95 %) of differences of accuracy.

    Args:
        correct: for each row `[seeds, images]`, 1 where the network of that seed is right.
        first, second: the pairs, as row numbers.

    Returns:
        `[pairs, 2]`, accuracy of first minus second.
    """
    images = correct[0].shape[1]
    bits = np.concatenate(correct).astype(np.uint8, copy=False)
    # an image that all networks do equally well on adds nothing to any difference, however often it is drawn
    telling = np.flatnonzero((bits != bits[0]).any(axis=0))
    drawn = _redrawn(images)
    sums = np.zeros((len(bits), RESAMPLES), dtype=np.float32)
    for at in range(0, len(telling), _BLOCK):
        block = telling[at : at + _BLOCK]
        sums += bits[:, block].astype(np.float32) @ drawn[block].astype(np.float32)  # whole numbers: exact
    accuracy = np.empty((len(correct), RESAMPLES))
    begin = 0
    for number, row in enumerate(correct):
        weights = _redrawn_seeds(number, len(row))
        accuracy[number] = (weights * sums[begin : begin + len(row)]).sum(axis=0) / (images * len(row))
        begin += len(row)
    tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    intervals: Floats = np.quantile(accuracy[first] - accuracy[second], tails, axis=1).T
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


@lru_cache(maxsize=512)
def _redrawn_seeds(row: int, seeds: int) -> Floats:
    """`[seeds, resamples]`: how often each seed of the row of that number is drawn."""
    generator = np.random.default_rng([_SEED, row, seeds])
    counts: Floats = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES).T.astype(np.float64)
    return counts
