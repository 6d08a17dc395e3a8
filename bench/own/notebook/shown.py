"""How results show themselves in a notebook: small HTML tables, every text escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from bench.records.record import Record

__all__ = ["html_table", "records_html"]

_HEADS = ("method", "target", "seed", "top-1 dense", "top-1 pruned", "MACs kept", "params kept", "spent", "status")


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first cell of each row names it, the others are numbers or words."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr><th scope='row' style='text-align:left'>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(text)}</td>" for text in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def records_html(caption: str, records: Iterable[Record]) -> str:
    """One row a run."""
    return html_table(caption, _HEADS, (_row(record) for record in records))


def _row(record: Record) -> Sequence[str]:
    cells = [record.method, record.target, str(record.seed)]
    if record.dense and record.pruned and record.ratios:
        cells += [f"{100 * each.top1_test:.2f} %" for each in (record.dense, record.pruned)]
        cells += [f"{record.ratios.macs:.3f}", f"{record.pruned.nonzero / record.dense.params:.3f}"]
    else:
        cells += ["-"] * 4
    unit = "ep" if record.budget.unit == "dense_epochs" else "s"
    spent = "-" if record.spent is None else f"{record.spent:.3g} of {record.budget.amount:g} {unit}"
    return [*cells, spent, record.status]
