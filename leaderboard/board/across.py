"""The summary across targets: the area under accuracy over the logarithm of the size, and ranks by it.

The size is what the targets name, as it was measured: multiply-accumulates for `macs=`, nonzero parameters for
`params=` (unstructured methods that keep as many weights may keep them in layers of very different cost, so that the
MACs of nonzero weights would give each method a range of its own).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.board.board import SEEDS_TO_BE_PROVISIONAL, SEEDS_TO_RANK
from bench.leaderboard.board.comparable import Start, start_of
from bench.leaderboard.board.comparison import AcrossTargets, Area, NotCompared, RankInterval
from bench.leaderboard.board.pairing import largest_field
from bench.leaderboard.board.run_group import RunGroup
from bench.leaderboard.stats.errors import UNKNOWN_IMAGES
from bench.leaderboard.stats.estimate import Estimate
from bench.leaderboard.stats.pairs import in_families, rank_intervals
from bench.leaderboard.stats.rows import row_statistics
from bench.records.record import Record

__all__ = ["across_targets", "normalised_area"]


def normalised_area(sizes: Sequence[float], accuracies: Sequence[float]) -> float | None:
    """The mean accuracy over the logarithm of the size, by trapezia between the points; None for a single size.

    Args:
        sizes: what is kept, above 0.
        accuracies: fractions, one a size.
    """
    if min(sizes) <= 0:
        return None
    points = sorted((math.log(size), accuracy) for size, accuracy in zip(sizes, accuracies, strict=True))
    width = points[-1][0] - points[0][0]
    if width <= 0:
        return None
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points)) / width


def across_targets(groups: Sequence[RunGroup], listed: Sequence[str], images: int | None) -> tuple[AcrossTargets, ...]:
    """One summary for each measure that the targets name.

    The targets are the track's own as far as two methods or more have three seeds there; where the track names none,
    all that two methods or more have. A method counts with the seeds that it has at all of them.

    Args:
        groups: the rows at all targets with a size.
        listed: the track's targets.
        images: number of test images; None where no record tells.
    """
    methods: dict[tuple[str, str], dict[str, RunGroup]] = defaultdict(dict)
    for each in groups:
        methods[each.variant_key][each.row.target] = each
    summaries = []
    for measure in ("macs", "params"):
        targets = _targets([each for each in groups if each.target and each.target.measure == measure], listed)
        if len(targets) >= 2:
            concerned = [rows for rows in methods.values() if any(each in rows for each in targets)]
            summaries.append(_summary(measure, targets, concerned, images))
    return tuple(summaries)


def _targets(groups: Sequence[RunGroup], listed: Sequence[str]) -> tuple[str, ...]:
    rows: dict[str, int] = {}
    for each in groups:
        rows[each.row.target] = rows.get(each.row.target, 0) + (len(each.records) >= SEEDS_TO_BE_PROVISIONAL)
    own = [target for target in rows if target in listed]
    return tuple(target for target in (own or rows) if rows[target] >= 2)


def _summary(
    measure: str, targets: tuple[str, ...], methods: Sequence[dict[str, RunGroup]], images: int | None
) -> AcrossTargets:
    found: list[tuple[RunGroup, dict[Start, float]]] = []
    left_out = []
    for rows in methods:
        some = next(iter(rows.values()))
        missing = [target for target in targets if target not in rows]
        areas = {} if missing else _areas(measure, [rows[target] for target in targets])
        if missing:
            left_out.append(NotCompared(some.row.label, f"has no run at {', '.join(missing)}"))
        elif len(areas) < SEEDS_TO_BE_PROVISIONAL:
            reason = f"has {len(areas)} seeds at all targets: the summary takes {SEEDS_TO_BE_PROVISIONAL} or more"
            left_out.append(NotCompared(some.row.label, reason))
        else:
            found.append((some, areas))
    starts = sorted({start for _, areas in found for start in areas})
    errors = np.array([[1 - areas[start] if start in areas else np.nan for start in starts] for _, areas in found])
    inside = largest_field(~np.isnan(errors.reshape(len(found), len(starts))))
    if inside.sum() < 2:
        inside[:] = False
    for (some, _), chosen in zip(found, inside, strict=True):
        if not chosen:
            reason = "shares three seeds, from the same dense networks, with none of the others"
            left_out.append(NotCompared(some.row.label, reason))
    compared = [each for each, chosen in zip(found, inside, strict=True) if chosen]
    ranks = _ranks([some.row.control for some, _ in compared], errors[inside], images) if compared else []
    shown = [
        Area(some.row.label, some.row.control, Estimate.of(areas.values()), rank)
        for (some, areas), rank in zip(compared, ranks, strict=True)
    ]
    return AcrossTargets(measure, targets, tuple(sorted(shown, key=lambda row: -row.area.mean)), tuple(left_out))


def _ranks(control: Sequence[bool], errors: NDArray[np.float64], images: int | None) -> list[RankInterval | None]:
    """Ranks among the methods, by the tests of a target on what is wrong on the mean; None for a control.

    Args:
        control: by row.
        errors: `[rows, starts]`, 1 - area; nan where a row has no such start.
        images: number of test images.
    """
    statistics = row_statistics(errors, np.zeros(len(errors), dtype=int), images or UNKNOWN_IMAGES)
    pairs = statistics.pairs(np.arange(len(errors)))
    corrected, level = in_families(pairs.p, pairs.five)
    better = np.where(corrected < level, np.where(pairs.difference < 0, 1, -1), 0)
    between = np.array([not (control[a] or control[b]) for a, b in zip(pairs.first, pairs.second, strict=True)])
    intervals = rank_intervals(pairs.first, pairs.second, np.where(between, better, 0), len(errors))
    methods = len(control) - sum(control)
    few = (~np.isnan(errors)).sum(axis=1) < SEEDS_TO_RANK
    return [
        None if control[i] else RankInterval(int(low), int(high) - sum(control), methods, bool(few[i]))
        for i, (low, high) in enumerate(intervals)
    ]


def _areas(measure: str, rows: Sequence[RunGroup]) -> dict[Start, float]:
    """Areas by start, of the starts that all rows have."""
    records = [{start_of(record): record for record in each.records} for each in rows]
    areas = {}
    for start in sorted(set.intersection(*(set(each) for each in records))):
        here = [each[start] for each in records]
        area = normalised_area([_size(measure, record) for record in here], [_top1(record) for record in here])
        if area is not None:
            areas[start] = area
    return areas


def _size(measure: str, record: Record) -> float:
    if record.ratios is None:
        return 0.0
    if measure == "macs":
        return record.ratios.macs
    return 1 / record.ratios.compression if record.kind == "unstructured" else record.ratios.params


def _top1(record: Record) -> float:
    return record.pruned.top1_test if record.pruned else 0.0
