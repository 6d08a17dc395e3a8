"""What `bench measure` prints: a row a network and runtime, a column a batch size."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from bench.own.export.timing import Timed
from bench.records.console import make_console

__all__ = ["as_values", "print_times"]


def print_times(found: Sequence[Timed]) -> None:
    """A table; times of one call can be compared with each other, and with nothing else."""
    caption = "median of one pass, interquartile range in brackets; timed in turns: compare within this table only"
    table = Table(caption=caption, caption_justify="left")
    table.add_column("network", overflow="fold")
    table.add_column("runtime")
    for row in found[0].latency:
        table.add_column(f"batch {row.batch}, ms", justify="right")
        table.add_column("faster", justify="right")
    for timed in found:
        cells = []
        for row, speedup in zip(timed.latency, timed.speedup, strict=True):
            cells += [f"{1e3 * row.median_seconds:.3g} ({1e3 * row.iqr_seconds:.2g})", f"{speedup:.2f}×"]
        table.add_row(timed.name, timed.runtime, *cells)
    console = make_console() if sys.stdout.isatty() else make_console(width=160)
    console.print(table)


def as_values(found: Sequence[Timed]) -> list[dict[str, Any]]:
    """The same as JSON values, times in seconds."""
    return [
        {
            "network": timed.name,
            "runtime": timed.runtime,
            "latency": [
                {
                    "batch": row.batch,
                    "median_seconds": row.median_seconds,
                    "iqr_seconds": row.iqr_seconds,
                    "runs": row.runs,
                    "speedup": speedup,
                }
                for row, speedup in zip(timed.latency, timed.speedup, strict=True)
            ],
        }
        for timed in found
    ]
