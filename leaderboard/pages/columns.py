"""How numbers of a row are written: the same columns for the page and for the terminal."""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.leaderboard.board.board import Estimate, Row, Table
from bench.leaderboard.board.comparison import Place
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.column import Column
from bench.records.record import Record

__all__ = ["TextTable", "columns", "heading", "tables"]

RANK_MEANING = (
    "1 + the number of methods that are significantly better at this target (paired t-test by seed, Holm's correction "
    "over all pairs, level 0.05), so that a method whose seeds vary much ranks high for want of evidence; = marks a "
    "shared rank; five seeds rank a row, three make it provisional, fewer list it"
)


@dataclass(frozen=True)
class TextTable:
    """One table as text, for a terminal."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(estimate: Estimate) -> str:
    """A fraction in percent with its interval: `91.20 ± 0.35 %`."""
    if estimate.half_width is None:
        return f"{100 * estimate.mean:.2f} %"
    return f"{100 * estimate.mean:.2f} ± {100 * estimate.half_width:.2f} %"


def points(estimate: Estimate) -> str:
    """A difference of fractions in percentage points with its sign: `−0.40 ± 0.12`."""
    sign = "+" if estimate.mean > 0 else "−" if estimate.mean < 0 else ""
    width = "" if estimate.half_width is None else f" ± {100 * estimate.half_width:.2f}"
    return f"{sign}{abs(100 * estimate.mean):.2f}{width}"


def place_text(place: Place) -> str:
    """`1`, `2=` where rows share the rank, `3 (provisional)`."""
    return f"{place.rank}{'=' if place.tied else ''}{' (provisional)' if place.provisional else ''}"


def duration(seconds: float) -> str:
    """`41.2 s`, `12.5 min` or `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def heading(table: Table) -> str:
    """What the rows of a table share."""
    unit = "dense epochs" if table.budget_unit == "dense_epochs" else "device seconds"
    edition = f", {table.edition}" if table.edition else ""
    return f"{table.kind.capitalize()}, {table.budget_amount:g} {unit}, {table.device_class}{edition}"


def columns(table: Table, ranked: bool) -> tuple[Column[Row], ...]:
    """The columns of a table, but for the method's name.

    Args:
        table: decides the batch sizes, and whether nonzero weights are counted apart.
        ranked: whether the track ranks at all; where not, no row has a rank.
    """
    first = [
        Column("top-1", "top-1 accuracy on the test images, mean over seeds, 95 % Student interval", _top1),
        Column("dense", "top-1 of the dense networks these runs started from, or are compared with", _dense),
        Column("difference", "pruned minus dense in percentage points, paired by seed", _difference),
        Column("seeds", "number of seeds", lambda row: str(row.top1_test.n)),
    ]
    rank = [Column("rank", RANK_MEANING, _rank)]
    sizes = [
        Column("MACs", "share of the dense network's multiply-accumulates that is kept", _macs),
        Column("params", "share of the dense network's parameters that is kept", _params),
        Column(
            "compression",
            "dense parameters / nonzero parameters left, biases counted",
            lambda row: f"{row.compression:.2f}×",
        ),
    ]
    nonzero = [Column("MACs, nonzero", "the same by nonzero weights; no speed is claimed for it", _macs_nonzero)]
    weights = [Column("compression, weights", "the same without biases and normalisation", _compression_weights)]
    batches = sorted({change.batch for row in table.rows for change in row.latency})
    cost = [
        Column("device time", "time that a run held the device, mean over seeds", _device_time),
        Column("spent", "share of the budget that was spent", _spent),
    ]
    return (
        *(rank if ranked else []),
        *first,
        *sizes[:1],
        *(nonzero if table.kind == "unstructured" else []),
        *sizes[1:],
        *(weights if table.kind == "unstructured" else []),
        *(_latency_column(batch) for batch in batches),
        *cost,
    )


def tables(records: Iterable[Record]) -> tuple[TextTable, ...]:
    """The rows of the page's tables as text, track by track."""
    texts = []
    for track in summarise(records).tracks:
        note = "" if track.ranked else "This track is too small to rank methods."
        if track.left_out:
            note = f"{note} Left out: {len(track.left_out)} runs.".strip()
        for table in track.tables:
            shown = columns(table, track.ranked)
            texts.append(
                TextTable(
                    title=f"{track.name}: {heading(table)}",
                    note=note,
                    columns=("method", "target", *(column.title for column in shown)),
                    rows=tuple((row.label, row.target, *(column.cell(row) for column in shown)) for row in table.rows),
                )
            )
    return tuple(texts)


def _top1(row: Row) -> str:
    return percent(row.top1_test)


def _dense(row: Row) -> str:
    return f"{100 * row.dense_top1_test.mean:.2f} %"


def _difference(row: Row) -> str:
    return points(row.difference)


def _rank(row: Row) -> str:
    if row.place is None:
        return "listed" if row.seed_status == "listed" else "–"
    return place_text(row.place)


def _macs(row: Row) -> str:
    return f"{100 * row.macs_ratio:.1f} %"


def _macs_nonzero(row: Row) -> str:
    return f"{100 * row.macs_nonzero_ratio:.1f} %"


def _params(row: Row) -> str:
    return f"{100 * row.params_ratio:.1f} %"


def _compression_weights(row: Row) -> str:
    return "–" if row.compression_weights is None else f"{row.compression_weights:.2f}×"


def _device_time(row: Row) -> str:
    return duration(row.device_seconds)


def _spent(row: Row) -> str:
    return "–" if row.spent is None else f"{100 * row.spent:.0f} %"


def _latency_column(batch: int) -> Column[Row]:
    def cell(row: Row) -> str:
        for change in row.latency:
            if change.batch == batch:
                before, after = change.dense_seconds * 1e3, change.pruned_seconds * 1e3
                return f"{before:.3g} → {after:.3g} ms ({change.speedup:.2f}×)"
        return "–"

    return Column(f"latency, batch {batch}", "measured, dense → pruned, means over seeds of medians", cell)
