"""All pairs of rows tested at once, and what follows: p values corrected by Holm in two families, and rank intervals.

Leading axes are repetitions, so that a simulation of thousands of tables is one call: what is simulated is what ranks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.stats.variances import Moderated

__all__ = [
    "FEWER_LEVEL",
    "FIVE_LEVEL",
    "Pairs",
    "all_pairs",
    "holm",
    "in_families",
    "pooled_correlation",
    "rank_intervals",
]

Floats = NDArray[np.float64]

FIVE_SEEDS = 5
FIVE_LEVEL = 0.04
"""Of the family of pairs in which both rows have five seeds or more."""

FEWER_LEVEL = 0.01
"""Of the family of the other pairs, so that rows with fewer seeds cannot erase what five seeds show."""


@dataclass(frozen=True)
class Pairs:
    """Tests of pairs of rows, first minus second.

    Attributes:
        first, second: `[pairs]`, row numbers.
        five: `[pairs]`, whether both have five seeds or more.
        difference, error, degrees: `[..., pairs]`, of the means, its standard error and degrees of freedom.
        p: `[..., pairs]`, two-sided.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    five: NDArray[np.bool_]
    difference: Floats
    error: Floats
    degrees: Floats
    p: Floats

    def half_width(self, confidence: float = 0.95) -> Floats:
        """Half the width of each pair's own two-sided interval."""
        from scipy.special import stdtrit

        width: Floats = stdtrit(self.degrees, (1 + confidence) / 2) * self.error
        return width


def pooled_correlation(values: Floats, target: NDArray[np.integer]) -> Floats:
    """The correlation of rows at equal seed, pooled over all pairs of rows at the same target; `[...]`, not below 0.

    Less one standard error that it has where there is none, 1 / sqrt(pairs x degrees of freedom): pairing counts as far
    as it is there, and two rows of five seeds do not show it.

    Args:
        values: `[..., rows, seeds]`, nan where a row has no such seed.
        target: `[rows]`.
    """
    known = ~np.isnan(values)
    count = known.sum(axis=-1, keepdims=True)
    mean = np.where(known, values, 0).sum(axis=-1, keepdims=True) / np.maximum(count, 1)
    residual = np.where(known, values - mean, 0.0)
    length = np.sqrt((residual**2).sum(axis=-1, keepdims=True))
    unit = np.divide(residual, length, out=np.zeros_like(residual), where=length > 1e-12)
    products, pairs, looks = (np.zeros(values.shape[:-2]) for _ in range(3))
    for number in np.unique(target):
        here = unit[..., target == number, :]
        varying = length[..., target == number, 0] > 1e-12
        rows = varying.sum(axis=-1)
        products += (here.sum(axis=-2) ** 2).sum(axis=-1) - (here**2).sum(axis=(-2, -1))
        pairs += rows * (rows - 1)
        degrees = (varying * (count[..., target == number, 0] - 1)).sum(axis=-1)  # of all rows
        looks += (rows - 1) * degrees / 2
    found: Floats = np.clip(products / np.maximum(pairs, 1) - 1 / np.sqrt(np.maximum(looks, 1)), 0.0, 0.95)
    return found


def all_pairs(mean: Floats, moderated: Moderated, known: NDArray[np.bool_], correlation: Floats | float) -> Pairs:
    """Every pair of rows, by Welch's test with moderated variances.

    The variance of a difference of means is v1 / n1 + v2 / n2 - 2 r sqrt(v1 v2) m / (n1 n2), m seeds being shared; its
    degrees of freedom are Welch's and Satterthwaite's.

    Args:
        mean: `[..., rows]`.
        moderated: of the same rows, on the scale of the means.
        known: `[rows, seeds]`, which seeds a row has.
        correlation: `[...]`, of two rows at equal seed.
    """
    from scipy.special import stdtr

    first, second = np.triu_indices(mean.shape[-1], k=1)
    seeds = known.sum(axis=-1)
    shared = (known.astype(np.int64) @ known.T.astype(np.int64))[first, second]
    one, two = seeds[first], seeds[second]
    a, b = moderated.variance[..., first] / one, moderated.variance[..., second] / two
    covariance = np.asarray(correlation)[..., None] * np.sqrt(a * b) * shared / np.sqrt(one * two)
    error = np.sqrt(np.maximum(a + b - 2 * covariance, 1e-300))
    degrees = (a + b) ** 2 / (a**2 / moderated.degrees[..., first] + b**2 / moderated.degrees[..., second])
    difference = mean[..., first] - mean[..., second]
    p = 2 * stdtr(degrees, -np.abs(difference) / error)
    five = (one >= FIVE_SEEDS) & (two >= FIVE_SEEDS)
    return Pairs(first, second, five, difference, error, degrees, p)


def holm(p: Floats) -> Floats:
    """Holm's step-down correction (Holm 1979) over the last axis: each may be held against the family's level.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is smaller than the one before it.
    """
    order = np.argsort(p, axis=-1, kind="stable")
    stepped = np.take_along_axis(p, order, axis=-1) * np.arange(p.shape[-1], 0, -1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), axis=-1)
    return corrected


def in_families(p: Floats, five: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Holm's correction in the two families.

    Returns:
        corrected p values, `[..., pairs]`, and the level that each is held against, `[pairs]`.
    """
    corrected = np.empty_like(p)
    for family in (five, ~five):
        if family.any():
            corrected[..., family] = holm(p[..., family])
    return corrected, np.where(five, FIVE_LEVEL, FEWER_LEVEL)


def rank_intervals(
    first: NDArray[np.intp], second: NDArray[np.intp], better: NDArray[np.integer], rows: int
) -> NDArray[np.int64]:
    """From 1 + the rows that are better to the number of rows less those that are worse, `[..., rows, 2]`.

    Args:
        first, second: `[pairs]`, row numbers.
        better: `[..., pairs]`, 1 where the first is significantly better, -1 where the second is, else 0.
        rows: number of rows.
    """
    wins = np.zeros((*better.shape[:-1], rows), dtype=np.int64)
    losses = np.zeros_like(wins)
    for row in range(rows):
        left, right = better[..., first == row], better[..., second == row]
        wins[..., row] = (left > 0).sum(axis=-1) + (right < 0).sum(axis=-1)
        losses[..., row] = (left < 0).sum(axis=-1) + (right > 0).sum(axis=-1)
    return np.stack([1 + losses, rows - wins], axis=-1)
