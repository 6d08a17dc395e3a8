"""Which rows of a target are compared with which: three seeds, from the same dense networks, and no more tries.

Where rows fall apart into sets that share no dense networks, as those of two machines do, only the largest set is
compared: a rank among others says nothing about these.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.board.comparable import Start
from bench.leaderboard.board.comparison import NotCompared
from bench.leaderboard.board.run_group import RunGroup
from bench.leaderboard.stats.rows import MIN_SEEDS

__all__ = ["Field", "error_rates", "field_of", "largest_field"]


@dataclass(frozen=True)
class Field:
    """The rows at one target that are compared with each other.

    Attributes:
        target: the target.
        rows: the rows.
        left_out: the others, and why.
    """

    target: str
    rows: tuple[RunGroup, ...]
    left_out: tuple[NotCompared, ...]


def field_of(target: str, groups: Sequence[RunGroup]) -> Field:
    """The rows at a target that may be compared."""
    rivals = usual_tries(groups)
    left_out, able = [], []
    for group in groups:
        seeds = len(group.error_rates)
        if seeds < MIN_SEEDS:
            words = f"{seeds} seed{'s' if seeds > 1 else ''}: a rank takes {MIN_SEEDS} or more"
            left_out.append(NotCompared(group.row.label, words))
        elif rivals is not None and (group.tries or 0) > rivals:
            words = f"its settings were chosen among {group.tries}, its rivals' among {rivals}: listed, not ranked"
            left_out.append(NotCompared(group.row.label, words))
        else:
            able.append(group)
    inside = largest_field(~np.isnan(error_rates(able)[0]))
    rows = tuple(group for group, chosen in zip(able, inside, strict=True) if chosen)
    for group, chosen in zip(able, inside, strict=True):
        if not chosen:
            words = (
                f"shares three seeds, from the same dense networks, with none of the {len(rows)} rows that are "
                "compared: another processor or library version trains other dense networks. Run it beside them on "
                "one machine"
            )
            left_out.append(NotCompared(group.row.label, words))
    if len(rows) == 1:
        reason = "no other row at this target has three seeds" if len(groups) > 1 else "the only row at this target"
        left_out.append(NotCompared(rows[0].row.label, reason))
        rows = ()
    return Field(target, rows, tuple(left_out))


def usual_tries(groups: Sequence[RunGroup]) -> int | None:
    """How many settings most of the methods here had tried; of several such numbers the smallest. None: not known."""
    known = Counter(group.tries for group in groups if group.tries is not None and not group.row.control)
    return min(known, key=lambda tries: (-known[tries], tries)) if known else None


def error_rates(rows: Sequence[RunGroup]) -> tuple[NDArray[np.float64], tuple[Start, ...]]:
    """`[rows, starts]`, nan where a row has no such start; and the starts."""
    starts = tuple(sorted({start for group in rows for start in group.error_rates}))
    number = {start: i for i, start in enumerate(starts)}
    matrix = np.full((len(rows), len(starts)), np.nan)
    for i, group in enumerate(rows):
        for start, error in group.error_rates.items():
            matrix[i, number[start]] = error
    return matrix, starts


def largest_field(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows are in the largest connected set of rows that share three starts; of equal ones the first.

    Args:
        known: `[rows, starts]`, which starts a row has.
    """
    whole = known.astype(np.int64)
    linked = whole @ whole.T >= MIN_SEEDS
    largest = np.zeros(len(known), dtype=bool)
    placed = np.zeros(len(known), dtype=bool)
    for row in range(len(known)):
        if not placed[row]:
            here = _reached(row, linked)
            placed |= here
            largest = here if here.sum() > largest.sum() else largest
    return largest


def _reached(row: int, linked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every row that links lead to from this one, itself included."""
    here = linked[row]
    while True:
        further = linked[here].any(axis=0)
        if (further == here).all():
            return here
        here = further
