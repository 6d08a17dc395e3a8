"""What a table holds, before it is written: values by column, what is shown of them, what is bold.

A row is a method at a target (`row`), a run (`seed`), an epoch of a run or a layer of one. Numbers are those of the
pages and of the records; nothing is worked out here but which records are wanted.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.errors import UsageError, unknown_name
from bench.leaderboard.board.board import Row, Table, TrackSummary
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.stats.estimate import Estimate
from bench.records.record import Record
from bench.records.rows import epoch_rows, layer_rows, record_row
from bench.specs.target import Target

__all__ = ["PER", "FlatTable", "Per", "chosen", "fingerprint", "flat_tables"]

Per = Literal["row", "seed", "epoch", "layer"]
PER: tuple[Per, ...] = ("row", "seed", "epoch", "layer")


@dataclass(frozen=True)
class FlatTable:
    """Rows that stand together.

    Attributes:
        title: what they share.
        rows: values by column, for CSV and data frames.
        columns: the columns that are shown elsewhere, by title, and the text of a row's cell; the first names the row.
        bold: whether a row is told apart from every other one as the best.
    """

    title: str
    rows: tuple[dict[str, Any], ...]
    columns: dict[str, Callable[[dict[str, Any]], str]]
    bold: tuple[bool, ...] = field(default=())


def chosen(records: Iterable[Record], tracks: Sequence[str], targets: Sequence[str]) -> list[Record]:
    """The records of these tracks and targets; all where none is named. Controls without a target stay.

    Raises:
        UsageError: there is no record of a track or a target; those that there are, are listed.
    """
    found = list(records)
    names = {record.track for record in found}
    if wrong := [name for name in tracks if name not in names]:
        raise unknown_name("track of these records", wrong[0], names)
    found = [record for record in found if not tracks or record.track in tracks]
    wanted = {str(Target.parse(text)) for text in targets}
    there = {record.target for record in found if record.target != "none"}
    if missing := sorted(wanted - there):
        raise UsageError(f"no record at {missing[0]} here. There are {', '.join(sorted(there)) or 'none'}.")
    kept = [record for record in found if not wanted or record.target in wanted or record.target == "none"]
    if not kept:
        raise UsageError("no records here. Run something first, or give the folder with --store DIR.")
    return kept


def fingerprint(records: Iterable[Record]) -> str:
    """Twelve digits of a hash over the runs and the networks that they came to: equal where the records are."""
    lines = sorted(f"{r.run_id} {r.status} {r.pruned.weights_sha256 if r.pruned else ''}" for r in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def flat_tables(records: Sequence[Record], per: Per) -> list[FlatTable]:
    """The tables: one for each table of the pages (`row`), else one of all records."""
    if per == "row":
        tracks = summarise(records).tracks
        return [_aggregated(track, table) for track in tracks for table in track.tables if table.rows]
    rows: Iterable[dict[str, Any]]
    if per == "seed":
        rows, columns = (record_row(record) for record in records), _SEED
    elif per == "epoch":
        rows, columns = (row for record in records for row in epoch_rows(record)), _EPOCH
    else:
        rows, columns = (row for record in records for row in layer_rows(record)), _LAYER
    every = tuple(rows)
    what = {"seed": "a run", "epoch": "an epoch", "layer": "a layer"}[per]
    return [FlatTable(f"{len(records)} runs, one row {what}", every, columns)]


def _aggregated(track: TrackSummary, table: Table) -> FlatTable:
    unit = "dense epochs" if table.budget_unit == "dense_epochs" else "device seconds"
    edition = f", {table.edition}" if table.edition else ""
    return FlatTable(
        title=f"{track.name}: {table.kind}, {table.budget_amount:g} {unit}, {table.device_class}{edition}",
        rows=tuple(_values(track, table, row) for row in table.rows),
        columns=_ROW,
        bold=tuple(
            row.rank is not None and row.rank.low == row.rank.high == 1 and row.rank.methods > 1 for row in table.rows
        ),
    )


def _values(track: TrackSummary, table: Table, row: Row) -> dict[str, Any]:
    return {
        "track": track.name,
        "kind": table.kind,
        "budget": table.budget_amount,
        "budget_unit": table.budget_unit,
        "device_class": table.device_class,
        "method": row.method,
        "variant": row.variant,
        "control": row.control,
        "target": row.target,
        "seeds": row.top1_test.n,
        "rank_low": row.rank.low if row.rank else None,
        "rank_high": row.rank.high if row.rank else None,
        **_estimate("top1_test", row.top1_test),
        **_estimate("dense_top1_test", row.dense_top1_test),
        **_estimate("difference", row.difference),
        "macs": row.macs.mean,
        "macs_ratio": row.macs_ratio,
        "macs_nonzero_ratio": row.macs_nonzero_ratio,
        "params_ratio": row.params_ratio,
        "compression": row.compression,
        "device_seconds": row.device_seconds,
        "spent_ratio": row.spent,
    }


def _estimate(name: str, value: Estimate) -> dict[str, Any]:
    """Mean and half width of the 95 % interval; None for one seed."""
    return {name: value.mean, f"{name}_half_width": value.half_width}


def _percent(name: str, digits: int = 2) -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        if row.get(name) is None:
            return "–"
        around = row.get(f"{name}_half_width")
        width = "" if around is None else f" ± {100 * around:.{digits}f}"
        return f"{100 * row[name]:.{digits}f}{width}"

    return cell


def _plain(name: str, form: str = "") -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        value = row.get(name)
        return "–" if value is None else format(value, form)

    return cell


def _rank(row: dict[str, Any]) -> str:
    low, high = row["rank_low"], row["rank_high"]
    if low is None:
        return "control" if row["control"] else "–"
    return f"{low}" if low == high else f"{low}–{high}"


def _method(row: dict[str, Any]) -> str:
    return f"{row['method']} ({row['variant']})" if row["variant"] else str(row["method"])


_ROW = {
    "method": _method,
    "target": _plain("target"),
    "rank": _rank,
    "top-1 (%)": _percent("top1_test"),
    "difference (points)": _percent("difference"),
    "MACs (%)": _percent("macs_ratio", 1),
    "params (%)": _percent("params_ratio", 1),
    "seeds": _plain("seeds"),
}
_SEED = {
    "method": _plain("method"),
    "track": _plain("track"),
    "target": _plain("target"),
    "seed": _plain("seed"),
    "dense top-1 (%)": _percent("dense_top1_test"),
    "top-1 (%)": _percent("pruned_top1_test"),
    "MACs (%)": _percent("ratio_macs", 1),
    "params (%)": _percent("ratio_params", 1),
    "status": _plain("status"),
}
_EPOCH = {
    "run": _plain("run_id"),
    "phase": _plain("phase"),
    "epoch": _plain("epoch", ".4g"),
    "spent": _plain("spent", ".4g"),
    "loss": _plain("train_loss", ".4f"),
    "validation top-1 (%)": _percent("top1_val"),
}
_LAYER = {
    "run": _plain("run_id"),
    "layer": _plain("name"),
    "width": _plain("width_before"),
    "kept": _plain("width_after"),
    "params": _plain("params", ","),
    "nonzero": _plain("nonzero", ","),
    "MACs": _plain("macs", ","),
}
