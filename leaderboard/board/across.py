"""The summary across targets: the area under accuracy over the logarithm of the size, and ranks by it.

The size is what the targets name, as it was measured: multiply-accumulates for `macs=`, nonzero parameters for
`params=` (unstructured methods that keep as many weights may keep them in layers of very different cost, so that the
MACs of nonzero weights would give each method a range of its own).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from bench.leaderboard.board.board import SEEDS_TO_BE_PROVISIONAL
from bench.leaderboard.board.comparable import Start, start_of
from bench.leaderboard.board.comparison import AcrossTargets, Area, NotCompared
from bench.leaderboard.board.pairing import all_pairs
from bench.leaderboard.board.run_group import RunGroup
from bench.leaderboard.stats.estimate import Estimate
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


def across_targets(groups: Sequence[RunGroup], listed: Sequence[str], resolution: float) -> tuple[AcrossTargets, ...]:
    """One summary for each measure that the targets name.

    The targets are the track's own as far as two methods or more have three seeds there; where the track names none,
    all that two methods or more have. A method counts with the seeds that it has at all of them.

    Args:
        groups: the rows at all targets with a size.
        listed: the track's targets.
        resolution: see `paired_t`.
    """
    methods: dict[tuple[str, str], dict[str, RunGroup]] = defaultdict(dict)
    for each in groups:
        methods[each.variant_key][each.row.target] = each
    summaries = []
    for measure in ("macs", "params"):
        targets = _targets([each for each in groups if each.target and each.target.measure == measure], listed)
        if len(targets) >= 2:
            concerned = [rows for rows in methods.values() if any(each in rows for each in targets)]
            summaries.append(_summary(measure, targets, concerned, resolution))
    return tuple(summaries)


def _targets(groups: Sequence[RunGroup], listed: Sequence[str]) -> tuple[str, ...]:
    rows: dict[str, int] = {}
    for each in groups:
        rows[each.row.target] = rows.get(each.row.target, 0) + (len(each.records) >= SEEDS_TO_BE_PROVISIONAL)
    own = [target for target in rows if target in listed]
    return tuple(target for target in (own or rows) if rows[target] >= 2)


def _summary(
    measure: str, targets: tuple[str, ...], methods: Sequence[dict[str, RunGroup]], resolution: float
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
    ranked = []
    places = all_pairs([areas for _, areas in found], resolution).places
    for (some, areas), place in zip(found, places, strict=True):
        if place is None:
            reason = "shares three seeds, from the same dense networks, with none of the others"
            left_out.append(NotCompared(some.row.label, reason))
        else:
            ranked.append(Area(some.row.label, some.row.control, Estimate.of(areas.values()), place))
    return AcrossTargets(measure, targets, tuple(sorted(ranked, key=lambda row: -row.area.mean)), tuple(left_out))


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
