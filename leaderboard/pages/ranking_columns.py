"""How a ranking is written: ranking_tables of text, the same for the page, a report and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.leaderboard.board.board import Table
from bench.leaderboard.board.comparison import (
    AcrossTargets,
    AgentGain,
    Area,
    Floor,
    NotCompared,
    PairTest,
    Ranking,
    TargetRanking,
)
from bench.leaderboard.pages.column import Column
from bench.leaderboard.pages.columns import percent, place_text, points

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
    """The ranking_tables of a table's ranking; none where there is nothing to say."""
    ranking = table.ranking
    found = [_across(each) for each in ranking.across]
    if ranking.agent_gains:
        found.append(_ranking_table("What an agent adds", _AGENT_GAIN_NOTES, _ADDITIONS, ranking.agent_gains))
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
        "as at one target.",
        *_not_compared("Not in the summary", across.left_out),
    ]
    return _ranking_table(f"Across targets ({', '.join(across.targets)})", notes, _AREAS, across.rows)


def _target(target: TargetRanking) -> RankingTable:
    pairs = f"{target.pairs:,} pair{'' if target.pairs == 1 else 's'}"
    notes = []
    if len(target.comparisons) < target.pairs:
        notes.append(
            f"{len(target.comparisons)} of {pairs} are shown: each row beside the one with the highest mean and beside "
            "its neighbour, from the top. Ranks and Holm's correction rest on all of them."
        )
    notes += _not_compared("Not compared with every row", target.not_compared)
    return _ranking_table(
        f"{target.target}: {pairs} of rows compared", notes, _COMPARISONS, target.comparisons, detail=True
    )


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


def _images(row: PairTest) -> str:
    if row.images is None:
        return "–"
    return f"{_signed(row.images.low)} to {_signed(row.images.high)}"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.2f}".replace("-", "−").replace("+0.00", "0.00").replace("−0.00", "0.00")


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(str(seed) for seed in seeds) if len(seeds) <= 5 else f"{len(seeds)} seeds"


_COMPARISONS: tuple[Column[PairTest], ...] = (
    Column("higher mean", "the row with the higher mean over the shared seeds", lambda row: row.better, False),
    Column("lower mean", "the other row", lambda row: row.other, False),
    Column(
        "difference",
        "in percentage points, paired by seed, 95 % Student interval: how other seeds would come out",
        lambda row: points(row.difference),
    ),
    Column(
        "other test images",
        "95 % interval of the difference for these trained networks when the test images are drawn again (paired "
        "bootstrap, 1,000 times, of the correct bits averaged over the shared seeds)",
        _images,
    ),
    Column("p", "of the paired t-test by seed", lambda row: _p(row.p)),
    Column("p, Holm", "corrected for all pairs at this target", lambda row: _p(row.p_holm)),
    Column("seeds", "seeds that both have, from the same dense networks", lambda row: _seeds(row.seeds)),
    Column("verdict", "better where the corrected p is below 0.05", lambda row: row.verdict, False),
)

_AREAS: tuple[Column[Area], ...] = (
    Column("method", "with what sets it apart", lambda row: f"{row.label}{' (control)' if row.control else ''}", False),
    Column(
        "rank",
        "1 + the number of methods with a significantly larger area (paired t-test by seed, Holm's correction)",
        lambda row: place_text(row.place),
    ),
    Column("mean top-1 over log size", "with its 95 % Student interval over seeds", lambda row: percent(row.area)),
    Column("seeds", "seeds with a run at every target", lambda row: str(row.area.n)),
)

_AGENT_GAIN_NOTES = (
    "Each search that an agent guides beside the same search with actions drawn by lot: the difference is what the "
    "agent adds, whatever its sign. p is that of one paired t-test by seed, not corrected.",
)
_ADDITIONS: tuple[Column[AgentGain], ...] = (
    Column("target", "the target", lambda row: row.target, False),
    Column("with the agent", "the row", lambda row: row.label, False),
    Column("by lot", "its counterpart", lambda row: row.counterpart, False),
    Column(
        "the agent adds",
        "percentage points of test top-1, paired by seed, 95 % Student interval",
        lambda row: "–" if row.difference is None else points(row.difference),
    ),
    Column("p", "of the paired t-test by seed, not corrected", lambda row: "–" if row.p is None else _p(row.p)),
    Column(
        "seeds",
        "seeds that both have, from the same dense networks",
        lambda row: "0" if row.difference is None else str(row.difference.n),
    ),
    Column(
        "what differs",
        "whether the two differ in the agent alone",
        lambda row: "the agent alone" if row.same_search else "more than the agent: random-search stands in",
        False,
    ),
)

_FLOORS: tuple[Column[Floor], ...] = (
    Column("target", "the target", lambda row: row.target, False),
    Column("floor", "in percentage points", lambda row: f"{100 * row.half_width:.2f}"),
    Column("seeds", "over how many seeds the accuracies are averaged", lambda row: str(row.seeds)),
    Column("pairs", "pairs of rows that it is measured on", lambda row: str(row.pairs)),
)
