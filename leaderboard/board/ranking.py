"""The ranking of one table: at each target, across targets, and what agents add."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.board.across import across_targets
from bench.leaderboard.board.agent_gain import agent_gains
from bench.leaderboard.board.board import SEEDS_TO_BE_PROVISIONAL
from bench.leaderboard.board.comparison import Floor, Interval, NotCompared, PairTest, Place, Ranking, TargetRanking
from bench.leaderboard.board.pairing import AllPairs, all_pairs
from bench.leaderboard.board.run_group import RunGroup
from bench.leaderboard.stats.correct_bits import correct_bits, images_of
from bench.leaderboard.stats.estimate import Estimate
from bench.leaderboard.stats.statistics import image_half_width, image_intervals

__all__ = ["rank_table"]

PAIRS_SHOWN = 45  # a target: all pairs of ten rows
_FLOOR_ROWS = 20  # rows whose pairs a resolution floor is measured on, at most


def rank_table(groups: Sequence[RunGroup], listed: Sequence[str], ranked: bool) -> tuple[Ranking, list[Place | None]]:
    """The ranking of a table and each row's place.

    Args:
        groups: the rows with their records, those at one target the best mean first.
        listed: targets of the track, which the summary is over.
        ranked: whether the track is large enough to rank methods; where not, there are floors in the ranks' place.
    """
    images = next((number for each in groups if (number := _images(each)) is not None), None)
    by_target: dict[str, list[int]] = defaultdict(list)
    for at, each in enumerate(groups):
        if each.sized:
            by_target[each.row.target].append(at)
    found: list[Place | None] = [None] * len(groups)
    if not ranked:
        floors = [_floor(target, [groups[i] for i in rows], images) for target, rows in by_target.items()]
        return Ranking(floors=tuple(each for each in floors if each)), found
    resolution = 1 / images if images else 0.0
    targets = []
    for target, rows in by_target.items():
        field = [groups[i] for i in rows]
        pairs = all_pairs([each.top1_test for each in field], resolution)
        targets.append(_target(target, field, pairs, images))
        for i, place in zip(rows, pairs.places, strict=True):
            found[i] = place
    across = across_targets([groups[i] for rows in by_target.values() for i in rows], listed, resolution)
    return Ranking(tuple(targets), across, agent_gains(groups, resolution)), found


def _images(group: RunGroup) -> int | None:
    return next((found for each in group.pruned.values() if (found := images_of(each)) is not None), None)


def _target(target: str, field: Sequence[RunGroup], pairs: AllPairs, images: int | None) -> TargetRanking:
    shown = _shown(pairs, len(field))
    intervals = _intervals(field, pairs, shown, images)
    labels = [each.row.label for each in field]
    comparisons = []
    for pair in shown:
        first, second, mean = int(pairs.first[pair]), int(pairs.second[pair]), float(pairs.tests.mean[pair])
        interval = intervals.get(pair)
        if mean < 0:
            first, second = second, first
            interval = interval and Interval(-interval.high, -interval.low)
        n = int(pairs.tests.n[pair])
        comparisons.append(
            PairTest(
                better=labels[first],
                other=labels[second],
                difference=Estimate(abs(mean), float(pairs.tests.half_width[pair]), n),
                images=interval,
                p=float(pairs.tests.p[pair]),
                p_holm=float(pairs.p_holm[pair]),
                seeds=tuple(seed for seed, _ in _starts(pairs, pair)),
            )
        )
    compared = sum(place is not None for place in pairs.places)
    missing = [
        NotCompared(each.row.label, reason)
        for i, each in enumerate(field)
        if (reason := _why_not(each, int(pairs.rivals[i]), pairs.field, len(field)))
    ]
    return TargetRanking(target, compared, len(pairs.first), tuple(comparisons), tuple(missing))


def _shown(pairs: AllPairs, rows: int) -> list[int]:
    """Which pairs are shown: all, or where they are many, each row beside the first and beside its neighbour."""
    if len(pairs.first) <= PAIRS_SHOWN:
        return list(range(len(pairs.first)))
    near = (pairs.first == pairs.first.min()) | (pairs.second == pairs.first + 1)
    chosen = np.flatnonzero(near)
    order = np.lexsort((pairs.first[chosen], pairs.second[chosen]))
    return sorted(int(pair) for pair in chosen[order][:PAIRS_SHOWN])


def _starts(pairs: AllPairs, pair: int) -> list[tuple[int, str]]:
    return [pairs.starts[i] for i in np.flatnonzero(pairs.shared[:, pair])]


def _why_not(group: RunGroup, rivals: int, ranked: int, rows: int) -> str:
    """Why a row has no rank, or one that does not rest on all others; empty where it does."""
    seeds = len(group.top1_test)
    if seeds < SEEDS_TO_BE_PROVISIONAL:
        return f"{seeds} seed{'s' if seeds > 1 else ''}: a rank takes {SEEDS_TO_BE_PROVISIONAL} or more"
    if rows == 1:
        return "the only row at this target"
    if not ranked:
        return "shares three seeds, from the same dense networks, with no other row"
    if not rivals:
        return (
            f"shares three seeds, from the same dense networks, with none of the {ranked} rows that are ranked: "
            "another processor or library version trains other dense networks. Run it beside them on one machine"
        )
    if rivals < ranked - 1:
        return f"shares three seeds with {rivals} of the {ranked - 1} others only: run the seeds that are missing"
    return ""


def _intervals(
    field: Sequence[RunGroup], pairs: AllPairs, shown: Sequence[int], images: int | None
) -> dict[int, Interval]:
    """Bootstrap intervals of the pairs shown, first minus second; without the pairs that lack bits."""
    if not images:
        return {}
    by_starts: dict[tuple[tuple[int, str], ...], list[int]] = defaultdict(list)
    for pair in shown:
        by_starts[tuple(_starts(pairs, pair))].append(pair)
    found = {}
    for starts, group in by_starts.items():
        rows = sorted({int(i) for pair in group for i in (pairs.first[pair], pairs.second[pair])})
        sums = {i: bits for i in rows if (bits := _sums(field[i], starts, images)) is not None}
        whole = [pair for pair in group if int(pairs.first[pair]) in sums and int(pairs.second[pair]) in sums]
        if not whole:
            continue
        place = {row: at for at, row in enumerate(sums)}
        first = np.array([place[int(pairs.first[pair])] for pair in whole])
        second = np.array([place[int(pairs.second[pair])] for pair in whole])
        intervals = image_intervals(np.stack(list(sums.values())), len(starts), first, second)
        found.update(
            {pair: Interval(float(low), float(high)) for pair, (low, high) in zip(whole, intervals, strict=True)}
        )
    return found


def _sums(group: RunGroup, starts: Sequence[tuple[int, str]], images: int) -> NDArray[np.integer] | None:
    """`[images]`, in how many of the starts the row is right; None where a record lacks the bits."""
    bits = [correct_bits(group.pruned[start], images) for start in starts]
    if any(each is None for each in bits):
        return None
    return np.sum([each for each in bits if each is not None], axis=0, dtype=np.int16)


def _floor(target: str, field: Sequence[RunGroup], images: int | None) -> Floor | None:
    """What the test images can tell apart; measured on pairs of rows, else from their accuracy."""
    if not images:
        return None
    variances = []
    for a, b in combinations(field[:_FLOOR_ROWS], 2):
        starts = sorted(a.top1_test.keys() & b.top1_test.keys())
        first, second = (_sums(each, starts, images) if starts else None for each in (a, b))
        if first is not None and second is not None:
            variances.append(float(np.var((first - second) / len(starts))))
    seeds = max(len(each.top1_test) for each in field)
    accuracy = fmean(each.row.top1_test.mean for each in field)
    variance = fmean(variances) if variances else 2 * accuracy * (1 - accuracy)
    return Floor(target, images, seeds, len(variances), max(1 / images / seeds, image_half_width(variance, images)))
