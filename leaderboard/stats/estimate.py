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

    @property
    def lower(self) -> float:
        """The one-sided 95 % bound from below: the mean is above it; minus infinity for one value."""
        return self.mean - self._one_sided

    @property
    def upper(self) -> float:
        """The one-sided 95 % bound from above."""
        return self.mean + self._one_sided

    @property
    def _one_sided(self) -> float:
        if self.half_width is None:
            return math.inf
        return self.half_width * student_quantile(self.n, CONFIDENCE) / student_quantile(self.n)


@cache
def student_quantile(n: int, level: float = (1 + CONFIDENCE) / 2) -> float:
    """The quantile of Student's distribution for `n` values; by default that of a two-sided 95 % interval."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, level))
