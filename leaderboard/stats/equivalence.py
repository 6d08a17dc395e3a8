"""Which rows are as good as each other: two one-sided tests, and the smallest margin within which a set of rows agrees.

Not to tell two rows apart is no finding; that they differ by less than a margin is one (Schuirmann 1987).
"""

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.stats.errors import points_margin
from bench.leaderboard.stats.pairs import Pairs, in_families

__all__ = ["equivalent", "smallest_margin"]

Floats = NDArray[np.float64]


def equivalent(pairs: Pairs, log_middle: Floats, margin: float) -> NDArray[np.bool_]:
    """Whether each pair's error rates differ by less than `margin`, a fraction of images; Holm over the pairs.

    Args:
        pairs: tests on logarithms of error rates.
        log_middle: `[..., pairs]`, the middle of the two logarithms.
        margin: above 0.
    """
    corrected, level = in_families(_one_sided(pairs, points_margin(log_middle, margin)), pairs.five)
    found: NDArray[np.bool_] = corrected < level
    return found


def smallest_margin(pairs: Pairs, log_middle: Floats, chosen: NDArray[np.bool_]) -> float:
    """The smallest margin, a fraction of images, within which all chosen pairs are shown to be equivalent.

    Holm's correction is over all pairs, not over the chosen ones, since those were chosen by looking.
    """
    if not chosen.any():
        return 0.0
    low, high = 0.0, 1.0
    if not equivalent(pairs, log_middle, high)[chosen].all():
        return high
    while high - low > 1e-6:
        middle = (low + high) / 2
        if equivalent(pairs, log_middle, middle)[chosen].all():
            high = middle
        else:
            low = middle
    return high


def _one_sided(pairs: Pairs, margin: Floats) -> Floats:
    """The larger p of the two one-sided tests that the difference lies below the margin, and above its negative."""
    from scipy.special import stdtr

    found: Floats = stdtr(pairs.degrees, -(margin - np.abs(pairs.difference)) / pairs.error)
    return found
