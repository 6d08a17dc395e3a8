"""Times that are times: a latency is shown only where the dense network of its run was as fast as that of the others.

The same dense network, timed in every run, is the clock of a machine: where it disagrees, the machine was busy or is
another, and the pruned network's time beside it says nothing to compare.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

from bench.leaderboard.board.board import LatencyChange
from bench.records.record import Measured, Record

__all__ = ["TOLERANCE", "latency_changes", "usual_latency"]

TOLERANCE = 0.10
"""By how much a run's dense network may differ from the usual time."""


def usual_latency(records: Iterable[Record]) -> dict[int, float]:
    """By batch size, the median over runs of the dense network's time, in seconds."""
    times: dict[int, list[float]] = defaultdict(list)
    for record in records:
        for row in record.dense.latency if record.dense else ():
            times[row.batch].append(row.median_seconds)
    return {batch: median(found) for batch, found in times.items()}


def latency_changes(
    dense: Sequence[Measured], pruned: Sequence[Measured], usual: Mapping[int, float]
) -> tuple[LatencyChange, ...]:
    """Times of a row's runs, by batch size that all have.

    Args:
        dense, pruned: of each run.
        usual: time of the table's dense networks.
    """
    times = [
        ({row.batch: row.median_seconds for row in d.latency}, {row.batch: row.median_seconds for row in p.latency})
        for d, p in zip(dense, pruned, strict=True)
    ]
    batches = sorted(set.intersection(*(set(before) & set(after) for before, after in times)) if times else ())
    return tuple(
        LatencyChange(
            batch,
            fmean(before[batch] for before, _ in times),
            fmean(after[batch] for _, after in times),
            _doubt([before[batch] for before, _ in times], usual.get(batch, math.nan)),
        )
        for batch in batches
    )


def _doubt(dense: Sequence[float], usual: float) -> str:
    off = [seconds for seconds in dense if not abs(seconds - usual) <= TOLERANCE * usual]
    if not off:
        return ""
    apart = max(abs(seconds / usual - 1) for seconds in off) if usual > 0 else math.inf
    return f"not shown: dense network off by {100 * apart:.0f} %"
