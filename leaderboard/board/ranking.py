"""The ranking of one table: at each target, across targets, and what agents add."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.board.across import across_targets
from bench.leaderboard.board.agent_gain import agent_gains
from bench.leaderboard.board.board import SEEDS_TO_RANK
from bench.leaderboard.board.comparison import Floor, Ranking, RankInterval, TargetRanking
from bench.leaderboard.board.finding import finding_of
from bench.leaderboard.board.pair_tests import Compared, pair_tests
from bench.leaderboard.board.pairing import Field, error_rates, field_of
from bench.leaderboard.board.run_group import RunGroup
from bench.leaderboard.stats.bootstrap import image_half_width
from bench.leaderboard.stats.correct_bits import correct_bits, images_of
from bench.leaderboard.stats.errors import UNKNOWN_IMAGES
from bench.leaderboard.stats.pairs import rank_intervals
from bench.leaderboard.stats.rows import row_statistics

__all__ = ["rank_table"]

_FLOOR_ROWS = 20  # rows whose pairs a resolution floor is measured on, at most


def rank_table(
    groups: Sequence[RunGroup], listed: Sequence[str], ranked: bool
) -> tuple[Ranking, list[RankInterval | None]]:
    """The ranking of a table and each row's rank.

    Args:
        groups: the rows with their records, those at one target the best mean first.
        listed: targets of the track, which the summary is over.
        ranked: whether the track is large enough to rank methods; where not, there are floors in the ranks' place.
    """
    images = next((number for group in groups if (number := _images(group)) is not None), None)
    by_target: dict[str, list[RunGroup]] = defaultdict(list)
    for group in groups:
        if group.sized:
            by_target[group.row.target].append(group)
    if not ranked:
        floors = [_floor(target, rows, images) for target, rows in by_target.items()]
        gains = agent_gains([group for rows in by_target.values() for group in rows], {})
        return Ranking(agent_gains=gains, floors=tuple(floor for floor in floors if floor)), [None] * len(groups)
    fields = [field_of(target, rows) for target, rows in by_target.items()]
    compared = _compare(fields, images)
    ranks: dict[tuple[str, str, str], RankInterval] = {}
    targets = []
    for field in fields:
        tests = compared.get(field.target)
        targets.append(_target(field, tests))
        if tests is not None:
            ranks |= {_key(group): rank for group, rank in zip(field.rows, _ranks(tests), strict=True) if rank}
    everything = [group for rows in by_target.values() for group in rows]
    across = across_targets(everything, listed, images)
    gains = agent_gains(everything, compared)
    return Ranking(tuple(targets), across, gains), [ranks.get(_key(group)) for group in groups]


def _key(group: RunGroup) -> tuple[str, str, str]:
    return (*group.variant_key, group.row.target)


def _images(group: RunGroup) -> int | None:
    return next((found for network in group.pruned.values() if (found := images_of(network)) is not None), None)


def _compare(fields: Sequence[Field], images: int | None) -> dict[str, Compared]:
    """The tests at each target; the variances are pooled over all of them."""
    rows = [group for field in fields for group in field.rows]
    if not rows:
        return {}
    target = np.array([number for number, field in enumerate(fields) for _ in field.rows])
    statistics = row_statistics(error_rates(rows)[0], target, images or UNKNOWN_IMAGES)
    found = {}
    for number, field in enumerate(fields):
        if field.rows:
            here = np.flatnonzero(target == number)
            pairs = statistics.pairs(here)
            middle = (statistics.mean[here][pairs.first] + statistics.mean[here][pairs.second]) / 2
            found[field.target] = pair_tests(field.rows, pairs, middle, float(statistics.correlation), images)
    return found


def _ranks(tests: Compared) -> list[RankInterval | None]:
    """Ranks among the methods; None for a control."""
    methods = [i for i, group in enumerate(tests.rows) if not group.row.control]
    place = {row: number for number, row in enumerate(methods)}
    inside = np.array([int(a) in place and int(b) in place for a, b in zip(tests.first, tests.second, strict=True)])
    first = np.array([place[int(a)] for a in tests.first[inside]], dtype=np.intp)
    second = np.array([place[int(b)] for b in tests.second[inside]], dtype=np.intp)
    intervals = rank_intervals(first, second, tests.better[inside], len(methods))
    ranks: list[RankInterval | None] = [None] * len(tests.rows)
    for row, (low, high) in zip(methods, intervals, strict=True):
        few = len(tests.rows[row].error_rates) < SEEDS_TO_RANK
        ranks[row] = RankInterval(int(low), int(high), len(methods), few)
    return ranks


def _target(field: Field, tests: Compared | None) -> TargetRanking:
    labels = tuple(group.row.label for group in field.rows)
    finding = finding_of(field, tests)
    if tests is None:
        return TargetRanking(field.target, labels, 0, 0.0, (), finding, field.left_out)
    return TargetRanking(
        field.target, labels, len(tests.first), tests.correlation, tests.shown, finding, field.left_out
    )


def _floor(target: str, field: Sequence[RunGroup], images: int | None) -> Floor | None:
    """What the test images can tell apart; measured on pairs of rows, else from their accuracy."""
    if not images:
        return None
    variances = []
    for a, b in combinations(field[:_FLOOR_ROWS], 2):
        starts = sorted(a.error_rates.keys() & b.error_rates.keys())
        first, second = (_sums(each, starts, images) if starts else None for each in (a, b))
        if first is not None and second is not None:
            variances.append(float(np.var((first - second) / len(starts))))
    seeds = max(len(group.error_rates) for group in field)
    accuracy = fmean(group.row.top1_test.mean for group in field)
    variance = fmean(variances) if variances else 2 * accuracy * (1 - accuracy)
    return Floor(target, images, seeds, len(variances), max(1 / images / seeds, image_half_width(variance, images)))


def _sums(group: RunGroup, starts: Sequence[tuple[int, str]], images: int) -> NDArray[np.integer] | None:
    """`[images]`, in how many of the starts the row is right; None where a record lacks the bits."""
    bits = [correct_bits(group.pruned[start], images) for start in starts]
    if any(each is None for each in bits):
        return None
    return np.sum([each for each in bits if each is not None], axis=0, dtype=np.int16)
