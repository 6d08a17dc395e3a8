"""Every pair of rows at one target: the seeds' test, other images, equivalence; and which of them are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    """The tests at one target.

    Attributes:
        rows: what is compared.
        pairs: the tests, on ln of the error rate; `first`, `second` are row numbers.
        middle: `[pairs]`, the middle of the two means of ln(error).
        better: `[pairs]`, 1 where the first is significantly better, -1 where the second is, else 0.
        correlation: of two rows at equal seed.
        tests: by pair; those that are not told apart have no interval over images.
        shown: those that are shown.
    """

    rows: tuple[RunGroup, ...]
    pairs: Pairs
    middle: Floats
    better: NDArray[np.int64]
    correlation: float
    tests: tuple[PairTest, ...]
    shown: tuple[PairTest, ...]

    @property
    def first(self) -> NDArray[np.intp]:
        """Row number of the first of each pair."""
        return self.pairs.first

    @property
    def second(self) -> NDArray[np.intp]:
        """Row number of the second of each pair."""
        return self.pairs.second


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
    significant = corrected < level
    dense_error = fmean(1 - group.row.dense_top1_test.mean for group in rows)
    within = [
        equivalent(pairs, middle, margin * dense_error) if dense_error > 0 else np.zeros(len(middle), dtype=bool)
        for margin in MARGINS
    ]
    shown = _shown(pairs, len(rows))
    told_apart = [int(pair) for pair in np.flatnonzero(significant)]
    by_images = _image_intervals(rows, pairs, told_apart, images)
    half = pairs.half_width()
    low, high = (points(middle, pairs.difference + sign * half) for sign in (-1, 1))
    centre = points(middle, pairs.difference)
    accuracy = [fmean(1 - error for error in group.error_rates.values()) for group in rows]
    labels = [group.row.label for group in rows]
    tests = []
    for pair in range(len(middle)):
        first, second = int(pairs.first[pair]), int(pairs.second[pair])
        # a smaller error is better: the log scale's interval, turned round and laid around the difference of the means
        below, above = float(centre[pair] - high[pair]), float(centre[pair] - low[pair])
        ratio, image = float(pairs.difference[pair]), by_images.get(pair)
        if ratio > 0:
            first, second, below, above, ratio = second, first, -above, -below, -ratio
            image = image and Interval(-image.high, -image.low)
        difference = accuracy[first] - accuracy[second]
        tests.append(
            PairTest(
                better=labels[first],
                other=labels[second],
                difference=difference,
                interval=Interval(difference + below, difference + above),
                ratio=float(np.exp(ratio)),
                images=image,
                p=float(pairs.p[pair]),
                p_holm=float(corrected[pair]),
                level=float(level[pair]),
                margin=next((margin for margin, holds in zip(MARGINS, within, strict=True) if holds[pair]), None),
                seeds=(len(rows[first].error_rates), len(rows[second].error_rates)),
            )
        )
    better = np.where(significant, np.where(pairs.difference < 0, 1, -1), 0)
    return Compared(tuple(rows), pairs, middle, better, correlation, tuple(tests), tuple(tests[pair] for pair in shown))


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
