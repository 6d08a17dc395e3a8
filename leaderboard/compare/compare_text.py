"""A comparison of runs on a terminal, and as JSON values."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bench.leaderboard.board.comparable import text
from bench.leaderboard.compare.compare import CONFIDENCE, Against, Measure, RunComparison
from bench.leaderboard.compare.difference import AccuracyDifference
from bench.records.console import make_console
from bench.records.format import milliseconds, percent

__all__ = ["as_json", "print_comparison"]


def print_comparison(comparison: RunComparison) -> None:
    """Tables with a column a run: colours and borders on a terminal, wide enough for every run elsewhere."""
    records = comparison.records
    console = make_console() if sys.stdout.isatty() else make_console(width=max(120, 40 + 30 * len(records)))
    names = [f"({place + 1})" for place in range(len(records))]
    for name, record in zip(names, records, strict=True):
        console.print(_text(f"{name} {record.run_id}", "bold"), soft_wrap=True)
    for warning in comparison.warnings:
        console.print(_text(f"not comparable: {warning}", "yellow"), soft_wrap=True)
    rows = [
        (f"{each.group} {each.name}", [_value(each.name, value) for value in each.values])
        for each in comparison.differing
    ]
    if rows:
        console.print(_table("what differs", names, rows))
    console.print(_table("results", names, _cells(comparison.results)))
    for against, name in zip(comparison.against, names[1:], strict=True):
        console.print(_text(_sentence(against, name, names[0])), soft_wrap=True)
    console.print(_table("ledger", names, _cells(comparison.ledger)))
    widths = [
        (row.name, [_width(before, after) for before, after in zip(row.before, row.after, strict=True)])
        for row in comparison.layers
    ]
    if widths:
        console.print(_table("widths by layer, before → after", names, widths))
    for name, record in zip(names, records, strict=True):
        console.print(_text(f"{name} {record.manifest.get('command', 'no command recorded')}"), soft_wrap=True)


def as_json(comparison: RunComparison) -> dict[str, Any]:
    """The same as JSON values, lists with a value a run. Accuracies are fractions, times seconds.

    What JSON cannot hold (NaN among settings that come from elsewhere) is written as text.
    """
    values = {
        "runs": [record.run_id for record in comparison.records],
        "comparable": comparison.comparable,
        "warnings": list(comparison.warnings),
        "differing": [
            {"group": each.group, "name": each.name, "values": list(each.values)} for each in comparison.differing
        ],
        "results": {measure.name: list(measure.values) for measure in comparison.results},
        "top1_test_against_first": [_against_json(against) for against in comparison.against],
        "ledger": {measure.name: list(measure.values) for measure in comparison.ledger},
        "layers": [
            {"name": row.name, "width_before": list(row.before), "width_after": list(row.after)}
            for row in comparison.layers
        ],
    }
    plain: dict[str, Any] = json.loads(json.dumps(values), parse_constant=str)
    return plain


def _table(title: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for name in names:
        table.add_column(_text(name), justify="right", overflow="fold")
    for name, cells in rows:
        differ = len(set(cells)) > 1
        table.add_row(_text(name), *(_text(cell, "bold" if differ else "") for cell in cells))
    return table


def _cells(measures: Sequence[Measure]) -> list[tuple[str, list[str]]]:
    return [(measure.name, [_number(value, measure.kind) for value in measure.values]) for measure in measures]


def _number(value: float | str | None, kind: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if kind == "fraction":
        return percent(value)
    if kind == "count":
        return f"{value:,}"
    return milliseconds(value) if value < 0.5 else f"{value:.1f} s"


def _value(name: str, value: Any) -> str:
    if isinstance(value, str) and name.endswith("sha256"):
        return value[:12]
    return text(value)


def _width(before: int | None, after: int | None) -> str:
    return "-" if before is None else f"{before} → {after}"


def _sentence(against: Against, name: str, first: str) -> str:
    gained = against.difference
    if gained is None:
        return f"top-1 test, {name} against {first}: not compared"
    half = gained.half_width(CONFIDENCE)
    if half is None:
        return (
            f"top-1 test, {name} minus {first}: {100 * gained.mean:+.2f} points; no interval, for the records do not "
            "hold the same images' bits"
        )
    sentence = f"top-1 test, {name} minus {first}: {100 * gained.mean:+.2f} ± {100 * half:.2f} points"
    sentence += f" (95 % interval over {gained.images:,} test images, of these two networks)"
    test = against.mcnemar
    if test is not None:
        sentence += (
            f"; McNemar's exact test: p = {test.p:.3g}, {test.only_second} images that {name} alone gets right, "
            f"{test.only_first} that {first} alone does"
        )
    return sentence


def _against_json(against: Against) -> dict[str, Any]:
    test = against.mcnemar
    return {
        "run_id": against.run_id,
        "difference": _difference_json(against.difference),
        "mcnemar": None
        if test is None
        else {"only_first": test.only_first, "only_this": test.only_second, "p": test.p},
    }


def _difference_json(gained: AccuracyDifference | None) -> dict[str, Any] | None:
    if gained is None:
        return None
    return {
        "mean": gained.mean,
        "half_width": gained.half_width(CONFIDENCE),
        "confidence": CONFIDENCE,
        "images": gained.images,
    }


def _text(content: str, style: str = "") -> Text:
    """Text from a record: no markup, no control characters."""
    return Text("".join(each if each.isprintable() else ascii(each)[1:-1] for each in content), style)
