"""How wide a group may stay so that a walk still lands on its target: AMC's resource-constrained actions.

He et al. 2018 (AMC, section 3.2 and the official code) bound each action from above, so that the layers that are still
to come can meet the target at their lower bound. Here it is bounded from below as well: a walk that has removed so
much that the rest could be kept whole must keep it. So every finished walk is at the target, and rewards compare
networks of one size.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds"]

RatiosAt = Callable[[NDArray], NDArray[np.float64]]


class Bounds:
    """Bounds on the widths of a walk.

    Args:
        ratios_at: shares of the dense network [N] at widths [N, G]; never falling as a width rises.
        full: widths before the walk [G].
        ratio: the share to land on, or the most to end at.
        floor: the least to end at; None for `ratio`.
        lower: share of its channels that every group keeps at the least, in (0, 1]. It is lowered, down to one channel
            a group, where the target could not be met otherwise (AMC's own code refuses such targets).

    Attributes:
        full: [G].
        least: [G] the widths at the lower bound, as it is used.
    """

    def __init__(
        self, ratios_at: RatiosAt, full: Sequence[int], ratio: float, lower: float, floor: float | None = None
    ) -> None:
        self._ratios_at, self._ratio, self._floor = ratios_at, ratio, ratio if floor is None else floor
        self.full = np.array(full)
        self.least = _least(self.full, lower)
        while (self.least > 1).any() and ratios_at(self.least[None])[0] > ratio:
            lower /= 2
            self.least = _least(self.full, lower)

    def between(self, chosen: Sequence[int]) -> tuple[int, int]:
        """The least and the largest width of the next group, after the widths that are chosen for those before it.

        From within these bounds the other groups can land on the target, as nearly as whole channels allow.
        """
        group = len(chosen)
        widths = np.arange(self.least[group], self.full[group] + 1)
        fits = widths[self._ratios(chosen, widths, self.least) <= self._ratio]
        fills = widths[self._ratios(chosen, widths, self.full) >= self._floor]
        most = int(fits.max(initial=self.least[group]))
        least = int(fills.min(initial=self.full[group]))
        return min(least, most), most

    def _ratios(self, chosen: Sequence[int], widths: NDArray, rest: NDArray) -> NDArray[np.float64]:
        """[N] shares with the next group at each of `widths` [N], and those after it at `rest`."""
        vectors = np.tile(rest, (len(widths), 1))
        vectors[:, : len(chosen)] = chosen
        vectors[:, len(chosen)] = widths
        return self._ratios_at(vectors)


def _least(full: NDArray, lower: float) -> NDArray:
    return np.maximum(1, np.ceil(full * lower - 1e-9)).astype(int)
