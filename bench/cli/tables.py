"""Tables for a terminal: what runs came to, in numbers with units."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.records.format import duration, milliseconds, percent, quantity, spent_text
from bench.records.record import Measured, Record

__all__ = ["results_table", "show_record", "show_records"]


def results_table(records: Sequence[Record], by_seed: bool = False) -> Table:
    """A row a method and target, means over seeds, in 80 columns.

    Args:
        records: of any tracks; a track's rows stand together.
        by_seed: a row a run instead.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=False)
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, no_wrap=name in ("target", "kept"), overflow="fold")
    rows: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        rows[record.track, record.method, record.target, *([record.run_id] if by_seed else [])].append(record)
    track = ""
    for (name, *_), runs in rows.items():
        if name != track and len({record.track for record in records}) > 1:
            table.add_row(Text(name, style="bold"))
            track = name
        table.add_row(*_row(runs, by_seed))
    several = not by_seed and any(len(runs) > 1 for runs in rows.values())
    table.caption = (
        f"top-1 on test{', means over seeds' if several else ''}; lost: points below the dense network;\n"
        "kept: MACs or, where the target or the method is about those, parameters; "
        "time: on the device"
    )
    table.caption_justify = "left"
    return table


_COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("method", "left"),
    ("target", "left"),
    ("seeds", "right"),
    ("top-1", "right"),
    ("lost", "right"),
    ("kept", "right"),
    ("time", "right"),
    ("status", "left"),
)


def _row(runs: Sequence[Record], by_seed: bool) -> list[Text | str]:
    """The cells of runs that only the seed tells apart."""
    first = runs[0]
    ended = [(r.dense, r.pruned, r.ratios) for r in runs if r.dense and r.pruned and r.ratios]
    cells: list[Text | str] = [Text(first.method), first.target, str(first.seed if by_seed else len(runs))]
    if ended:
        top1 = fmean(pruned.top1_test for _, pruned, _ in ended)
        lost = fmean(dense.top1_test - pruned.top1_test for dense, pruned, _ in ended)
        size = first.kind == "unstructured" or first.target.startswith("params")
        kept = fmean(p.nonzero / d.params if size else r.macs for d, p, r in ended)
        cells += [percent(top1), f"{100 * lost:+.2f}", percent(kept, 1)]
    else:
        cells += ["-"] * 3
    times = [total.device_seconds for r in runs if (total := r.ledger.get("total"))]
    cells.append(duration(fmean(times)) if times else "-")
    counts = Counter(record.status for record in runs)
    words = Text()
    for status, count in counts.items():
        words.append(f"{', ' if words else ''}{f'{count} ' if len(counts) > 1 else ''}")
        words.append(status, style=_colour(status))
    return [*cells, words]


def _colour(status: str) -> str:
    return {"ok": "green", "missed-target": "yellow", "undertrained": "yellow"}.get(status, "red")


def show_records(records: Sequence[Record], console: Console) -> None:
    """Several runs that one name means: their results, and the ids that tell them apart."""
    console.print(results_table(records, by_seed=True))
    for record in records:
        console.print(f"bench show {record.run_id}", markup=False, highlight=False, soft_wrap=True)


def show_record(record: Record, console: Console) -> None:
    """Everything a person wants to know of one record."""
    console.print(Text(record.run_id, style="bold"), Text(record.status, style=_colour(record.status)))
    if record.error:
        console.print(record.error, markup=False, highlight=False)
    if record.dense and record.pruned:
        console.print(_measures(record.dense, record.pruned))
    console.print(f"spent {spent_text(record)}", highlight=False)
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


def _measures(dense: Measured, pruned: Measured) -> Table:
    """The pruned network beside the dense one, a measure a row."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "dense", "pruned", "kept"):
        table.add_column(name, justify="left" if not name else "right")
    for name, before, after in (
        ("top-1 on test", dense.top1_test, pruned.top1_test),
        ("top-1 on validation", dense.top1_val, pruned.top1_val),
    ):
        table.add_row(name, percent(before), percent(after), f"{100 * (after - before):+.2f} points")
    sizes = [
        ("MACs", dense.macs, pruned.macs),
        ("parameters", dense.params, pruned.params),
        ("nonzero parameters", dense.nonzero, pruned.nonzero),
        ("bytes", dense.bytes, pruned.bytes),
    ]
    for name, whole, rest in sizes:
        table.add_row(name, quantity(whole), quantity(rest), percent(rest / whole, 1) if whole else "-")
    for slow, fast in zip(dense.latency, pruned.latency, strict=False):
        times = slow.median_seconds, fast.median_seconds
        shares = [*map(milliseconds, times), percent(times[1] / times[0], 0)]
        table.add_row(f"latency, batch {slow.batch}", *shares)
    return table
