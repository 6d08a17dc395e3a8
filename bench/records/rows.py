"""A record as one flat row of a table: for a data frame and for CSV, with units in the columns' names."""

from collections.abc import Iterable, Sequence
from typing import Any

from bench.records.record import Measured, Record

__all__ = ["epoch_rows", "layer_rows", "record_row"]

_MEASURES = (
    "top1_val",
    "top1_test",
    "top5_val",
    "top5_test",
    "loss_val",
    "macs",
    "macs_nonzero",
    "params",
    "nonzero",
    "bytes",
    "peak_bytes",
)
_RATIOS = ("macs", "params", "compression", "compression_weights", "filters_removed")
Row = dict[str, Any]


def record_row(record: Record) -> Row:
    """One row a run: what was asked for, both networks, ratios, budget, ledger. What a failed run lacks is None."""
    row: Row = {
        "run_id": record.run_id,
        "status": record.status,
        "method": record.method,
        "kind": record.kind,
        "control": record.control,
        "track": record.track,
        "dataset": record.track_fields.get("dataset"),
        "network": record.track_fields.get("network"),
        "target": record.target,
        "seed": record.seed,
    }
    for name, measured in (("dense", record.dense), ("pruned", record.pruned)):
        row |= {f"{name}_{key}": None if measured is None else getattr(measured, key) for key in _MEASURES}
        row |= _latencies(name, measured)
    row |= {f"ratio_{key}": None if record.ratios is None else getattr(record.ratios, key) for key in _RATIOS}
    row |= {"budget": record.budget.amount, "budget_unit": record.budget.unit, "spent": record.spent}
    for phase in ("dense", "prune", "search", "finetune", "total"):
        spent = record.ledger.get(phase)
        row[f"{phase}_macs_spent"] = None if spent is None else spent.macs
        row[f"{phase}_device_seconds"] = None if spent is None else spent.device_seconds
    row |= {f"setting_{name}": _plain(value) for name, value in record.config.items()}
    row |= {
        key: record.manifest.get(key) for key in ("device_class", "precision", "git_commit", "finished_at", "command")
    }
    return row


def epoch_rows(record: Record) -> Iterable[Row]:
    """One row a point of the run's curve."""
    for point in record.curve:
        yield {**_whose(record), "phase": point.phase, "epoch": point.epoch, "spent": point.spent, **point.values}


def layer_rows(record: Record) -> Iterable[Row]:
    """One row a layer."""
    for layer in record.layers:
        yield {**_whose(record), **layer.model_dump()}


def _whose(record: Record) -> Row:
    return {
        "run_id": record.run_id,
        "method": record.method,
        "track": record.track,
        "target": record.target,
        "seed": record.seed,
    }


def _latencies(name: str, measured: Measured | None) -> Row:
    """At batch 1 and at the larger batch, whose number of images is a column of its own."""
    rows: Sequence[Any] = () if measured is None else sorted(measured.latency, key=lambda each: each.batch)
    first, last = (rows[0], rows[-1]) if rows else (None, None)
    return {
        f"{name}_latency_seconds": None if first is None else first.median_seconds,
        f"{name}_latency_batch": None if last is None else last.batch,
        f"{name}_latency_batch_seconds": None if last is None else last.median_seconds,
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
