"""How a ranking is written: tables of text, the same for the page, a report and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.leaderboard.board.board import Table
from bench.leaderboard.board.comparison import (
    AcrossTargets,
    AgentGain,
    Area,
    Floor,
    Interval,
    NotCompared,
    PairTest,
    Ranking,
    TargetRanking,
)
from bench.leaderboard.pages.column import Column
from bench.leaderboard.pages.columns import interval, rank_text
from bench.leaderboard.stats.pairs import FEWER_LEVEL, FIVE_LEVEL

__all__ = ["RankingTable", "ranking_tables"]

T = TypeVar("T")

_SIZES = {"macs": "multiply-accumulates", "params": "nonzero parameters"}


@dataclass(frozen=True)
class RankingTable:
    """One table as text.

    Attributes:
        title: its heading.
        notes: what a reader must know, a sentence or more each.
        columns: titles, meanings and alignment.
        rows: cells, in the columns' order.
        detail: shown when asked for.
    """

    title: str
    notes: tuple[str, ...]
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[str, ...], ...]
    detail: bool


def ranking_tables(table: Table) -> tuple[RankingTable, ...]:
    """The tables of a ranking; none where there is nothing to say."""
    ranking = table.ranking
    found = [_across(each) for each in ranking.across]
    if ranking.agent_gains:
        found.append(_gains(ranking.agent_gains))
    if ranking.floors:
        found.append(_floors(ranking))
    return (*found, *(_target(each) for each in ranking.targets if each.pairs or each.not_compared))


def _ranking_table(
    title: str, notes: Sequence[str], columns: tuple[Column[T], ...], rows: Sequence[T], detail: bool = False
) -> RankingTable:
    cells = tuple(tuple(column.cell(row) for column in columns) for row in rows)
    return RankingTable(title, tuple(notes), columns, cells, detail)


def _across(across: AcrossTargets) -> RankingTable:
    notes = [
        f"Test top-1 averaged over the logarithm of the {_SIZES[across.measure]} kept, from the smallest of these "
        "targets to the largest, as measured: the area under the curve divided by its width. Ranks by the same tests "
        "as at one target, on what is wrong on the mean.",
        *_not_compared("Not in the summary", across.left_out),
    ]
    return _ranking_table(f"Across targets ({', '.join(across.targets)})", notes, _AREAS, across.rows)


def _gains(gains: Sequence[AgentGain]) -> RankingTable:
    alone = dict.fromkeys(gain.label for gain in gains if not gain.counterpart)
    notes = [
        "Each search that an agent guides beside the same method and settings with actions by lot (agent=uniform): the "
        "difference is what the agent adds, whatever its sign. p is not corrected: one planned comparison."
    ]
    if alone:
        notes.append(f"Nobody has run these by lot, so that what their agents add is not known: {', '.join(alone)}.")
    return _ranking_table("What an agent adds", notes, _AGENT_GAINS, [gain for gain in gains if gain.counterpart])


def _target(target: TargetRanking) -> RankingTable:
    pairs = f"{target.pairs:,} pair{'' if target.pairs == 1 else 's'}"
    notes = []
    if len(target.pair_tests) < target.pairs:
        notes.append(
            f"{len(target.pair_tests)} of {pairs} are shown: each row beside the one with the highest mean and beside "
            "its neighbour, from the top. Ranks and Holm's correction rest on all of them."
        )
    if target.pairs:
        notes.append(
            f"Correlation of the rows at equal seed, which the tests count: {target.correlation:.2f}. Holm's levels: "
            f"{FIVE_LEVEL:g} over the pairs with five seeds or more each, {FEWER_LEVEL:g} over the others."
        )
    notes += _not_compared("Not compared", target.not_compared)
    title = f"{target.target}: {pairs} of rows compared"
    return _ranking_table(title, notes, _PAIR_TESTS, target.pair_tests, detail=True)


def _floors(ranking: Ranking) -> RankingTable:
    images = ranking.floors[0].images
    notes = [
        f"No ranks: the test split has {images:,} images, so that one image is {100 / images:.2g} points. A difference "
        "of two methods below this floor is within the noise of the test images alone, whatever the seeds say.",
        "Floor: 1.96 sqrt(v / n), n the number of test images, v the variance over the images of the difference of two "
        "methods' correct bits, each averaged over the shared seeds; the mean of v over the pairs of rows, or "
        "2 p (1 − p) at the mean accuracy p where there is no pair.",
    ]
    return _ranking_table("What this track can tell apart", notes, _FLOORS, ranking.floors)


_LISTED = 8


def _not_compared(title: str, rows: Sequence[NotCompared]) -> list[str]:
    if not rows:
        return []
    named = "; ".join(f"{row.label} ({row.reason})" for row in rows[:_LISTED])
    more = f"; and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    return [f"{title}: {named}{more}."]


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def _span(interval: Interval | None) -> str:
    return "–" if interval is None else f"{_signed(interval.low)} to {_signed(interval.high)}"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.2f}".replace("-", "−").replace("+0.00", "0.00").replace("−0.00", "0.00")


def _margin(test: PairTest) -> str:
    return "–" if test.margin is None else f"{100 * test.margin:g} %"


_PAIR_TESTS: tuple[Column[PairTest], ...] = (
    Column("fewer errors", "the row with the lower mean of ln(error)", lambda test: test.better, False),
    Column("more errors", "the other row", lambda test: test.other, False),
    Column(
        "outcome",
        "better: significant over the seeds, and a bootstrap over images and seeds excludes zero; on these images: the "
        "first alone; equivalent: two one-sided tests within 10 % of the dense network's error; else unknown",
        lambda test: test.outcome,
        False,
    ),
    Column("points", "difference of mean test top-1", lambda test: _signed(test.difference)),
    Column(
        "other seeds", "95 % interval of the difference: how other seeds would come out", lambda t: _span(t.interval)
    ),
    Column(
        "other images",
        "95 % interval when test images and seeds are drawn again (1,000 times), of pairs that seeds tell apart",
        lambda test: _span(test.images),
    ),
    Column("errors", "error rate of the first over that of the other", lambda test: f"{test.ratio:.2f}×"),
    Column("p, Holm", "of the moderated t-test, corrected for its family of pairs", lambda test: _p(test.p_holm)),
    Column("equivalent within", "of the dense network's error: 5 %, 10 % or neither", _margin),
    Column("seeds", "of each", lambda test: f"{test.seeds[0]}, {test.seeds[1]}"),
)

_AREAS: tuple[Column[Area], ...] = (
    Column("method", "with what sets it apart", lambda row: f"{row.label}{' (control)' if row.control else ''}", False),
    Column(
        "rank",
        "from 1 + the methods with a significantly larger area, as at one target",
        lambda row: "control" if row.rank is None and row.control else "–" if row.rank is None else rank_text(row.rank),
    ),
    Column("mean top-1 over log size", "with its 95 % Student interval over seeds", lambda row: interval(row.area)),
    Column("seeds", "seeds with a run at every target", lambda row: str(row.area.n)),
)

_AGENT_GAINS: tuple[Column[AgentGain], ...] = (
    Column("target", "the target", lambda gain: gain.target, False),
    Column("with the agent", "the row", lambda gain: gain.label, False),
    Column("by lot", "its counterpart", lambda gain: gain.counterpart, False),
    Column(
        "the agent adds",
        "percentage points of mean test top-1",
        lambda gain: "–" if gain.difference is None else _signed(gain.difference),
    ),
    Column("other seeds", "95 % interval of it", lambda gain: _span(gain.interval)),
    Column("p", "of the moderated t-test, not corrected", lambda gain: "–" if gain.p is None else _p(gain.p)),
    Column("seeds", "of each", lambda gain: f"{gain.seeds[0]}, {gain.seeds[1]}"),
    Column(
        "same network", "seeds on which both ended in the same network, bit by bit", lambda gain: str(gain.identical)
    ),
)

_FLOORS: tuple[Column[Floor], ...] = (
    Column("target", "the target", lambda row: row.target, False),
    Column("floor", "in percentage points", lambda row: f"{100 * row.half_width:.2f}"),
    Column("seeds", "over how many seeds the accuracies are averaged", lambda row: str(row.seeds)),
    Column("pairs", "pairs of rows that it is measured on", lambda row: str(row.pairs)),
)
