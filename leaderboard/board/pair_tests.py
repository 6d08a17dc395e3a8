"""Every pair of rows at one target: the seeds' test, other images, equivalence; and which of them are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.board.comparison import MARGINS, Interval, PairTest
from bench.leaderboard.board.run_group import RunGroup
from bench.leaderboard.stats.bootstrap import image_seed_intervals
from bench.leaderboard.stats.correct_bits import correct_bits
from bench.leaderboard.stats.equivalence import equivalent
from bench.leaderboard.stats.errors import points
from bench.leaderboard.stats.pairs import Pairs, in_families

__all__ = ["PAIRS_SHOWN", "Compared", "pair_tests"]

Floats = NDArray[np.float64]

PAIRS_SHOWN = 66
"""Pairs at a target that are shown: all of twelve rows; of more rows each beside the first and beside its neighbour."""


@dataclass(frozen=True)
class Compared:
    """The tests at one target, as arrays over the pairs; a pair in words is made when it is asked for.

    Attributes:
        rows: what is compared.
        pairs: the tests, on ln of the error rate; `first`, `second` are row numbers.
        middle: the middle of the two means of ln(error).
        corrected, level: p values by Holm in the pair's family, and the level of that family.
        within: `[margins, pairs]`, whether the two are equivalent within each of `MARGINS`.
        images: intervals of the difference of accuracy when images and seeds are drawn again, first minus second, by
            number of a pair that seeds tell apart.
        correlation: of two rows at equal seed.
    """

    rows: tuple[RunGroup, ...]
    pairs: Pairs
    middle: Floats
    corrected: Floats
    level: Floats
    within: NDArray[np.bool_]
    images: Mapping[int, Interval]
    correlation: float

    @property
    def first(self) -> NDArray[np.intp]:
        """Row number of the first of each pair."""
        return self.pairs.first

    @property
    def second(self) -> NDArray[np.intp]:
        """Row number of the second of each pair."""
        return self.pairs.second

    @cached_property
    def better(self) -> NDArray[np.int64]:
        """1 where the first is significantly better, -1 where the second is, else 0."""
        return np.where(self.corrected < self.level, np.where(self.pairs.difference < 0, 1, -1), 0)

    @property
    def shown(self) -> tuple[PairTest, ...]:
        """The pairs that are shown, in words."""
        return tuple(self.test(pair) for pair in _shown(self.pairs, len(self.rows)))

    def test(self, pair: int) -> PairTest:
        """One pair in words."""
        first, second = int(self.first[pair]), int(self.second[pair])
        middle, log_ratio = self.middle[pair], self.pairs.difference[pair]
        # a smaller error is better: the log scale's interval, turned round and laid around the difference of the means
        centre = points(middle, log_ratio)
        below, above = (float(centre - points(middle, log_ratio + sign * self._half_width[pair])) for sign in (1, -1))
        image = self.images.get(pair)
        if log_ratio > 0:
            first, second, below, above, log_ratio = second, first, -above, -below, -log_ratio
            image = image and Interval(-image.high, -image.low)
        one, other = self.rows[first], self.rows[second]
        difference = fmean(other.error_rates.values()) - fmean(one.error_rates.values())
        return PairTest(
            better=one.row.label,
            other=other.row.label,
            difference=difference,
            interval=Interval(difference + below, difference + above),
            ratio=float(np.exp(log_ratio)),
            images=image,
            p=float(self.pairs.p[pair]),
            p_holm=float(self.corrected[pair]),
            level=float(self.level[pair]),
            margin=next((m for m, holds in zip(MARGINS, self.within[:, pair], strict=True) if holds), None),
            seeds=(len(one.error_rates), len(other.error_rates)),
        )

    @cached_property
    def _half_width(self) -> Floats:
        return self.pairs.half_width()


def pair_tests(
    rows: Sequence[RunGroup], pairs: Pairs, middle: Floats, correlation: float, images: int | None
) -> Compared:
    """All that is said of the pairs.

    Args:
        rows: at one target, the best mean first.
        pairs: their tests, on ln of the error rate.
        middle: `[pairs]`, of the two means.
        correlation: of two rows at equal seed.
        images: number of test images; None where no record tells.
    """
    corrected, level = in_families(pairs.p, pairs.five)
    dense_error = fmean(1 - group.row.dense_top1_test.mean for group in rows)
    within = np.stack(
        [
            equivalent(pairs, middle, margin * dense_error) if dense_error > 0 else np.zeros(len(middle), dtype=bool)
            for margin in MARGINS
        ]
    )
    told_apart = [int(pair) for pair in np.flatnonzero(corrected < level)]
    by_images = _image_intervals(rows, pairs, told_apart, images)
    return Compared(tuple(rows), pairs, middle, corrected, level, within, by_images, correlation)


def _shown(pairs: Pairs, rows: int) -> list[int]:
    """Which pairs are shown: all, or where they are many, each row beside the first and beside its neighbour."""
    if len(pairs.first) <= PAIRS_SHOWN:
        return list(range(len(pairs.first)))
    near = (pairs.first == 0) | (pairs.second == pairs.first + 1)
    chosen = np.flatnonzero(near)
    order = np.lexsort((pairs.first[chosen], pairs.second[chosen]))
    return sorted(int(pair) for pair in chosen[order][:PAIRS_SHOWN])


def _image_intervals(
    rows: Sequence[RunGroup], pairs: Pairs, chosen: Sequence[int], images: int | None
) -> dict[int, Interval]:
    """Intervals of these pairs when images and seeds are drawn again; pairs without bits have none."""
    if not images or not chosen:
        return {}
    wanted = sorted({int(row) for pair in chosen for row in (pairs.first[pair], pairs.second[pair])})
    bits = {row: found for row in wanted if (found := _bits(rows[row], images)) is not None}
    whole = [pair for pair in chosen if int(pairs.first[pair]) in bits and int(pairs.second[pair]) in bits]
    if not whole:
        return {}
    place = {row: at for at, row in enumerate(bits)}
    first = np.array([place[int(pairs.first[pair])] for pair in whole])
    second = np.array([place[int(pairs.second[pair])] for pair in whole])
    intervals = image_seed_intervals(list(bits.values()), first, second)
    return {pair: Interval(float(low), float(high)) for pair, (low, high) in zip(whole, intervals, strict=True)}


def _bits(group: RunGroup, images: int) -> NDArray[np.uint8] | None:
    """`[seeds, images]`, 1 where the network of that seed is right; None where a record lacks the bits."""
    bits = [correct_bits(measured, images) for measured in group.pruned.values()]
    known = [row for row in bits if row is not None]
    return np.stack(known) if len(known) == len(bits) else None
