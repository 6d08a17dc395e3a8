"""What could have been found: the smallest true difference that a table's tests show in four of five tables."""

from functools import lru_cache

__all__ = ["POWER", "detectable_difference"]

POWER = 0.8


@lru_cache(maxsize=4096)
def detectable_difference(error: float, degrees: float, level: float, pairs: int) -> float:
    """The difference of two rows that is found with a probability of 80 %, in the unit of `error`.

    The pair is the first that Holm's correction looks at: it is tested at level / pairs, two-sided. Its statistic has
    the noncentral t distribution.

    Args:
        error: standard error of the difference of a typical pair.
        degrees: of freedom.
        level: of the family.
        pairs: in the family.
    """
    from scipy.special import nctdtrinc, stdtrit

    critical = float(stdtrit(degrees, 1 - level / pairs / 2))
    return error * float(nctdtrinc(degrees, 1 - POWER, critical))
