"""Tables for a terminal: what runs came to, in numbers with units."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.records.format import quantity, spent_text
from bench.records.record import Measured, Record

__all__ = ["results_table", "show_record", "show_records"]


def _latency(measured: Measured) -> str:
    return " / ".join(f"{row.median_seconds * 1e3:.3g}" for row in measured.latency)


def results_table(records: Sequence[Record]) -> Table:
    """One row a record: accuracy before and after, sizes, latency, and what was spent."""
    table = Table(caption="top-1 on test; latency in ms at batch 1 / larger batch; spent: of the budget", expand=False)
    table.add_column("method", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for name in (
        "seed",
        "dense top-1",
        "pruned top-1",
        "MACs",
        "kept",
        "params",
        "dense ms",
        "pruned ms",
        "spent",
        "device s",
    ):
        table.add_column(name, justify="right")
    table.add_column("status", no_wrap=True)
    for record in records:
        cells: list[str | Text] = [record.method, record.target, str(record.seed)]
        if record.dense and record.pruned and record.ratios:
            cells += [
                f"{record.dense.top1_test:.4f}",
                f"{record.pruned.top1_test:.4f}",
                quantity(record.pruned.macs),
                f"{record.ratios.macs:.4f}",
                quantity(record.pruned.nonzero),
                _latency(record.dense),
                _latency(record.pruned),
            ]
        else:
            cells += ["-"] * 7
        total = record.ledger.get("total")
        cells += [spent_text(record), f"{total.device_seconds:.1f}" if total else "-", _status(record)]
        table.add_row(*cells)
    return table


def _status(record: Record) -> Text:
    colour = {"ok": "green", "missed-target": "yellow", "undertrained": "yellow"}.get(record.status, "red")
    return Text(record.status, style=colour)


def show_records(records: Sequence[Record], console: Console) -> None:
    """Several runs that one name means: their results, and the ids that tell them apart."""
    console.print(results_table(records))
    for record in records:
        console.print(f"bench show {record.run_id}", markup=False, highlight=False, soft_wrap=True)


def show_record(record: Record, console: Console) -> None:
    """Everything a person wants to know of one record."""
    console.print(Text.assemble((record.run_id, "bold"), "  ", _status(record)))
    if record.error:
        console.print(record.error, soft_wrap=True)
    console.print(results_table([record]))
    if record.layers:
        layers = Table(title="layers")
        for name in ("layer", "width before", "width after", "params", "nonzero", "MACs"):
            layers.add_column(name, justify="left" if name == "layer" else "right")
        for row in record.layers:
            layers.add_row(
                row.name,
                str(row.width_before),
                str(row.width_after),
                str(row.params),
                str(row.nonzero),
                str(row.macs),
            )
        console.print(layers)
    ledger = Table(title="ledger")
    for name in ("phase", "steps", "images trained", "images forward", "MACs", "device s"):
        ledger.add_column(name, justify="left" if name == "phase" else "right")
    for phase, spent in record.ledger.items():
        ledger.add_row(
            phase,
            str(spent.steps),
            str(spent.images_trained),
            str(spent.images_forward),
            quantity(spent.macs),
            f"{spent.device_seconds:.2f}",
        )
    console.print(ledger)
    for name, reason in record.left_out.items():
        console.print(f"not offered: {name}: {reason}", markup=False, highlight=False)
    for name, value in record.config.items():
        console.print(f"  {name} = {value}", markup=False, highlight=False)
    console.print(f"run it again: {record.manifest.get('command', '')}", markup=False, highlight=False, soft_wrap=True)
