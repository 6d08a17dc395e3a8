"""What the gate found, as Markdown for a pull request and as JSON values.

Text that comes from a record shows as it is: names between backticks, everything else in a `<code>` element with the
characters that mean something to Markdown, HTML or a mention written as entities.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.leaderboard.compare.gate import CONFIDENCE, Gate, GateRow
from bench.records.record import Record

__all__ = ["as_json", "as_markdown", "code"]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=:,+-]*")
# What may mean something to Markdown or HTML, and dots and colons that could make an address.
_MEANS = re.compile(r"[^\w\s.,:;=→±…()+%'-]|_|[.:](?![\s\d]|$)")
_LENGTH = 300
_WORDS = {
    "fails": "see what fails",
    "holds": "no size changed, and top-1 did not fall too far",
    "equal": "the networks are the baseline's, bit by bit",
    "not measured": "no networks in the baseline either",
    "new": "not in the baseline",
}


def code(text: str) -> str:
    """Text from a record in Markdown: shown, never read."""
    if _PLAIN.fullmatch(text) and len(text) <= _LENGTH:
        return f"`{text}`"
    line = " ".join(text.split())
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    line = line if len(line) <= _LENGTH else f"{line[:_LENGTH]}…"
    return f"<code>{_MEANS.sub(lambda found: f'&#{ord(found[0])};', line)}</code>"


def as_markdown(gate: Gate) -> str:
    """A verdict, what fails and why, and a table of all rows."""
    lines = [f"### bench gate: {'holds' if gate.holds else 'fails'}", "", _summary(gate)]
    if gate.problems or gate.failing:
        lines += ["", "**What fails**", ""]
        lines += [f"- {code(problem)}" for problem in gate.problems]
        lines += [f"- {_name(row)}: {code(reason)}" for row in gate.failing for reason in row.failures]
    if gate.rows:
        lines += ["", *_table(gate.rows)]
    notes = [f"- {_name(row)}: {code(note)}" for row in gate.rows for note in row.notes]
    if notes:
        lines += ["", "**What else differs**", "", *notes]
    lines += ["", _rule(gate)]
    return "\n".join(lines) + "\n"


def as_json(gate: Gate) -> dict[str, Any]:
    """The same as JSON values; accuracies are fractions, margin and limit percentage points."""
    return {
        "holds": gate.holds,
        "compared": gate.compared,
        "problems": list(gate.problems),
        "rule": {"margin_points": gate.rule.margin, "limit_points": gate.rule.limit, "confidence": CONFIDENCE},
        "rows": [_row_json(row) for row in gate.rows],
    }


def _summary(gate: Gate) -> str:
    counts = Counter(row.verdict for row in gate.rows)
    rows = "1 row" if len(gate.rows) == 1 else f"{len(gate.rows)} rows"
    pairs = "1 pair" if gate.compared == 1 else f"{gate.compared} pairs"
    words = ", ".join(f"{counts[word]} {word}" for word in _WORDS if counts[word])
    return f"{rows}, {pairs} of runs compared{': ' + words if words else ''}."


def _table(rows: Sequence[GateRow]) -> list[str]:
    titles = ("", "track", "method", "target", "seeds", "top-1 test", "difference", "MACs", "params", "latency")
    lines = ["| " + " | ".join(titles) + " |", "|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = (
            f"**{row.verdict}**" if row.failures else row.verdict,
            code(row.track),
            code(row.method) + (f" {code(row.variant)}" if row.variant else ""),
            code(row.target),
            ", ".join(str(seed) for seed in row.seeds) or "–",
            _top1(row),
            _difference(row),
            _size(row, "macs" if _kind(row) == "structured" else "macs_nonzero"),
            _size(row, "params" if _kind(row) == "structured" else "nonzero"),
            ", ".join(f"batch {batch}: {ratio:.2f}×" for batch, ratio in row.latency.items()) or "–",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _rule(gate: Gate) -> str:
    rule = gate.rule
    words = {row.verdict for row in gate.rows}
    meanings = "; ".join(f"{word}: {meaning}" for word, meaning in _WORDS.items() if word in words - {"fails"})
    return (
        f"Sizes must be equal. A fall of top-1 fails from {rule.limit:g} points on, above {rule.margin:g} where the "
        f"{100 * CONFIDENCE:g} % interval over seeds and test images lies below zero. Top-1 in percent, the difference "
        "in points. MACs and params are those of the pruned network, by nonzero weights for single weights. Latency is "
        f"its time over the baseline's: for information, on the same hardware only. {meanings}"
    ).strip()


def _name(row: GateRow) -> str:
    variant = f" ({code(row.variant)})" if row.variant else ""
    return f"{code(row.method)}{variant} at {code(row.target)} on {code(row.track)}"


def _kind(row: GateRow) -> str:
    return (row.base or row.head)[0].kind if row.base or row.head else "structured"


def _top1(row: GateRow) -> str:
    if row.new:
        return _mean(row.head)
    return f"{_mean(row.base)} → {_mean(row.head)}" if row.base else "–"


def _mean(records: Sequence[Record]) -> str:
    values = [record.pruned.top1_test for record in records if record.pruned]
    return f"{100 * sum(values) / len(values):.2f}" if values else "–"


def _difference(row: GateRow) -> str:
    if row.difference is None:
        return "–"
    if row.verdict == "equal":
        return "0"
    half = row.difference.half_width(CONFIDENCE)
    return f"{100 * row.difference.mean:+.2f}" + (f" ± {100 * half:.2f}" if half is not None else "")


def _size(row: GateRow, size: str) -> str:
    base, head = _sizes(row.base, size), _sizes(row.head, size)
    if not base or base == head:
        return _range(head)
    return f"{_range(base)} → {_range(head)}"


def _sizes(records: Sequence[Record], size: str) -> list[int]:
    return [getattr(record.pruned, size) for record in records if record.pruned]


def _range(values: Sequence[int]) -> str:
    if not values:
        return "–"
    return f"{values[0]:,}" if len(set(values)) == 1 else f"{min(values):,} to {max(values):,}"


def _row_json(row: GateRow) -> dict[str, Any]:
    gained = row.difference
    return {
        "track": row.track,
        "method": row.method,
        "target": row.target,
        "variant": row.variant,
        "seeds": list(row.seeds),
        "verdict": row.verdict,
        "failures": list(row.failures),
        "notes": list(row.notes),
        "top1_test_difference": None
        if gained is None
        else {
            "mean": gained.mean,
            "half_width": gained.half_width(CONFIDENCE),
            "seeds": gained.seeds,
            "images": gained.images,
        },
        "baseline": [_run_json(record) for record in row.base],
        "head": [_run_json(record) for record in row.head],
        "latency_ratio": {str(batch): ratio for batch, ratio in row.latency.items()},
    }


def _run_json(record: Record) -> dict[str, Any]:
    pruned = record.pruned
    return {
        "run_id": record.run_id,
        "seed": record.seed,
        "status": record.status,
        "top1_test": pruned.top1_test if pruned else None,
        "macs": pruned.macs if pruned else None,
        "macs_nonzero": pruned.macs_nonzero if pruned else None,
        "params": pruned.params if pruned else None,
        "nonzero": pruned.nonzero if pruned else None,
    }
