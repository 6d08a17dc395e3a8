"""The rows of one track and kind, from their error rates: means, moderated variances, correlation; then their pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.stats.errors import UNKNOWN_IMAGES, binomial_unit, log_error, rounding_variance
from bench.leaderboard.stats.pairs import Pairs, all_pairs, pooled_correlation
from bench.leaderboard.stats.variances import Moderated, moderate

__all__ = ["MIN_SEEDS", "RowStatistics", "row_statistics"]

Floats = NDArray[np.float64]

MIN_SEEDS = 3
"""Seeds that a row needs to be compared."""


@dataclass(frozen=True)
class RowStatistics:
    """Rows on the scale of ln of the error rate.

    Attributes:
        known: `[rows, seeds]`, which seeds a row has.
        mean: `[..., rows]`.
        moderated: variances of one seed, and their degrees of freedom.
        correlation: `[...]`, of two rows at equal seed.
    """

    known: NDArray[np.bool_]
    mean: Floats
    moderated: Moderated
    correlation: Floats

    def pairs(self, rows: NDArray[np.integer]) -> Pairs:
        """The tests of all pairs of these rows, which are numbered anew, from 0."""
        moderated = Moderated(self.moderated.variance[..., rows], self.moderated.degrees[..., rows])
        return all_pairs(self.mean[..., rows], moderated, self.known[rows], self.correlation)


def row_statistics(errors: Floats, target: NDArray[np.integer], images: int = UNKNOWN_IMAGES) -> RowStatistics:
    """The statistics of all rows of one track and kind.

    Args:
        errors: `[..., rows, seeds]`, error rates on test; nan where a row has no such seed, in all repetitions alike.
        target: `[rows]`, a number for the target of each row.
        images: number of test images.
    """
    values = log_error(errors, images)
    known = ~np.isnan(values.reshape(-1, *values.shape[-2:])[0])
    seeds = known.sum(axis=-1)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=-1) / seeds
    variance = np.where(known, (values - mean[..., None]) ** 2, 0.0).sum(axis=-1) / (seeds - 1)
    unit = binomial_unit(mean)
    moderated = moderate(variance / unit, seeds, target, rounding_variance(mean, images))
    on_scale = Moderated(moderated.variance * unit, moderated.degrees)
    return RowStatistics(known, mean, on_scale, pooled_correlation(values, target))
