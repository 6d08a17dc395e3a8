"""A mean over seeds with its 95 % Student interval."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from statistics import fmean

__all__ = ["CONFIDENCE", "Estimate"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: the mean.
        half_width: half the width of the 95 % Student interval; None where there is one value only.
        n: number of seeds.
    """

    mean: float
    half_width: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Estimate":
        """The estimate from one value a seed."""
        sample = tuple(values)
        n = len(sample)
        if n < 2:
            return cls(sample[0], None, n)
        mean = fmean(sample)
        variance = math.fsum((value - mean) ** 2 for value in sample) / (n - 1)
        return cls(mean, student_quantile(n) * math.sqrt(variance / n), n)


@cache
def student_quantile(n: int) -> float:
    """The two-sided 95 % quantile of Student's distribution for `n` values."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
