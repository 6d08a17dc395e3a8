"""How much a row's seeds vary: its own variance, shrunk towards that of the rows it stands among.

The moderated variance of limma (Smyth 2004, "Linear models and empirical Bayes methods for assessing differential
expression"): sample variances of rows follow a scaled F distribution around a prior variance; the prior's degrees of
freedom d0 say how alike the rows are, and a row with d of its own gets (d0 s0^2 + d s^2) / (d0 + d). Three things are
ours, each because simulation asked for it (docs/ranking.md):

- the prior is that of all the rows of a track and kind or, where the rows at one target vary more, of that target;
- a row borrows at most twice as many degrees of freedom as it has, and no pair of rows has more than all rows have
  together: a few rows do not tell d0 well enough to lean on it, and two alone lend each other nothing;
- a row whose variance is above the prior's 95 % quantile keeps its own.

No robust trimming: with it, unequal variances gave twice the false claims.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_BORROWED", "OWN_ABOVE", "Moderated", "moderate", "prior_degrees"]

Floats = NDArray[np.float64]

MAX_BORROWED = 2.0
"""Degrees of freedom that a row borrows, at most, for each of its own."""

OWN_ABOVE = 0.05
"""A row keeps its own variance where the prior gives one as large with a smaller probability than this."""

_COMMON = 1e6  # degrees of freedom that stand for one common variance


@dataclass(frozen=True)
class Moderated:
    """Variances of rows.

    Attributes:
        variance: `[..., rows]`, of one seed.
        degrees: `[..., rows]`, of freedom, borrowed ones included.
    """

    variance: Floats
    degrees: Floats


def moderate(variance: Floats, seeds: NDArray[np.integer], target: NDArray[np.integer], floor: Floats) -> Moderated:
    """The variances of all rows of one track and kind, moderated.

    Args:
        variance: `[..., rows]`, sample variances over seeds, in units in which rows may be alike.
        seeds: `[rows]` or `[..., rows]`, number of seeds, 2 or more.
        target: `[rows]`, a number for the target of each row.
        floor: `[..., rows]`, the smallest variance that is believed.
    """
    from scipy.special import digamma, fdtrc

    own = np.broadcast_to(np.asarray(seeds, dtype=np.float64) - 1, variance.shape)
    believed = np.maximum(variance, floor)
    log_location = np.log(believed) - digamma(own / 2) + np.log(own / 2)
    degrees = prior_degrees(log_location, own)[..., None]
    location = np.broadcast_to(log_location.mean(axis=-1, keepdims=True), variance.shape).copy()
    for number in np.unique(target):
        here = target == number
        location[..., here] = np.maximum(location[..., here], log_location[..., here].mean(axis=-1, keepdims=True))
    offset = np.where(degrees < _COMMON, digamma(degrees / 2) - np.log(degrees / 2), 0.0)
    prior = np.exp(location + offset)
    lent = np.maximum(own.sum(axis=-1, keepdims=True) / 2 - own, 0.0)
    borrowed = np.minimum(np.minimum(degrees, MAX_BORROWED * own), lent)
    total = borrowed + own
    tail = fdtrc(own, np.maximum(borrowed, 1e-3), believed / prior)
    alone = (borrowed == 0) | (tail < OWN_ABOVE)
    return Moderated(
        np.where(alone, believed, (borrowed * prior + own * believed) / total), np.where(alone, own, total)
    )


def prior_degrees(log_location: Floats, own: Floats) -> Floats:
    """d0 of limma's `fitFDist`, `[...]`: by the spread of ln s^2 beyond what chance gives; at most a million.

    Args:
        log_location: `[..., rows]`, ln s^2 - digamma(d / 2) + ln(d / 2), whose mean is that of ln of the true variance.
        own: `[..., rows]`, d.
    """
    from scipy.special import polygamma

    rows = log_location.shape[-1]
    if rows < 2:
        return np.full(log_location.shape[:-1], _COMMON)
    excess = log_location.var(axis=-1, ddof=1) - polygamma(1, own / 2).mean(axis=-1)
    degrees: Floats = np.where(excess > 0, 2 * _inverse_trigamma(np.maximum(excess, 1e-9)), _COMMON)
    return np.minimum(degrees, _COMMON)


def _inverse_trigamma(value: Floats) -> Floats:
    """y with trigamma(y) = value, by Newton's method on 1 / trigamma, which is nearly linear (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    y: Floats = 0.5 + 1 / value
    for _ in range(50):
        trigamma = polygamma(1, y)
        step = trigamma * (1 - trigamma / value) / polygamma(2, y)
        y = y + step
        if np.all(np.abs(step) < 1e-8 * y):
            break
    return y
