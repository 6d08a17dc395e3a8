"""Accuracy as plain JSON for plotly: over multiply-accumulates where the pruned networks are, and over the budget."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bench.leaderboard.board.board import Row, Table
from bench.leaderboard.pages.plots import LAYOUT, SYMBOLS, Figure, label, line
from bench.leaderboard.stats.estimate import Estimate

__all__ = ["accuracy", "over_budget", "pareto"]

_LOG_FROM = 20  # ratio of the largest to the smallest x from which the axis is logarithmic


def pareto(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats: none has as little x and more y. By x, upwards."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def accuracy(table: Table, colour: Mapping[str, str]) -> Figure:
    """Test accuracy over multiply-accumulates, with 95 % intervals and the Pareto front of the methods' means.

    In view is the region of the pruned networks; the dense network is a line.

    Unstructured pruning is drawn over the MACs of nonzero weights, since it leaves the layers' widths alone.
    """
    lines = _lines(table)
    rows = [row for each in lines.values() for row in each if row.target != "none"]
    methods = [row for row in rows if not row.control] or rows
    largest = max([1.0, *(_macs(table, row).mean for row in rows)])
    factor, unit = (1e-9, "G") if largest >= 1e9 else (1e-6, "M") if largest >= 1e6 else (1e-3, "k")
    dense = 100 * table.dense_top1_test.mean
    front = pareto((_macs(table, row).mean * factor, 100 * row.top1_test.mean) for row in methods)
    data: list[Figure] = [
        {
            "type": "scatter",
            "x": [x for x, _ in front],
            "y": [y for _, y in front],
            "name": "Pareto front",
            "mode": "lines",
            "line": {"shape": "hv", "width": 7, "color": "rgba(148, 163, 184, 0.35)"},
            "hoverinfo": "skip",
        },
    ]
    for i, (name, every) in enumerate(lines.items()):
        found = sorted((row for row in every if row.target != "none"), key=lambda row: _macs(table, row).mean)
        if not found:
            continue
        auto, hue = found[0].target == "auto", colour[found[0].method]
        data.append(
            {
                "type": "scatter",
                "x": [_macs(table, row).mean * factor for row in found],
                "y": [100 * row.top1_test.mean for row in found],
                "error_x": _bars([_macs(table, row) for row in found], factor),
                "error_y": _bars([row.top1_test for row in found], 100),
                "text": [label(f"{row.target}, {_seeds(row)}") for row in found],
                "hovertemplate": "%{y:.2f} % at %{x:.3g} " + unit + " MACs<br>%{text}",
                "name": label(name),
                "mode": "markers" if auto else "lines+markers",
                "line": {"color": hue, "dash": "dot" if found[0].control else "solid"},
                "marker": {"color": hue, "size": 9, "symbol": SYMBOLS[i % len(SYMBOLS)] + ("-open" if auto else "")},
            }
        )
    xs = [_macs(table, row).mean for row in rows] or [table.dense_macs]
    over = "MACs of nonzero weights" if table.kind == "unstructured" else "MACs"
    ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": dense, "y1": dense}
    said = {"xref": "paper", "x": 1, "xanchor": "right", "y": dense, "yanchor": "bottom", "showarrow": False}
    return {
        "data": data,
        "layout": {
            **LAYOUT,
            "shapes": [line(ends)],
            "annotations": [{**said, "text": f"dense network, {dense:.2f} %", "font": {"size": 11}}],
            "xaxis": {
                "title": {"text": f"{over} of one image ({unit})"},
                "type": "log" if min(xs) > 0 and max(xs) / min(xs) >= _LOG_FROM else "linear",
            },
            "yaxis": {"title": {"text": "test top-1 (%)"}, "range": _in_view(methods, dense)},
        },
    }


def _in_view(rows: Sequence[Row], dense: float) -> list[float]:
    """From the worst method to the best or the dense network, intervals included; a control may lie below."""
    ends = [dense]
    for row in rows:
        half = 100 * (row.top1_test.half_width or 0.0)
        ends += [max(100 * row.top1_test.mean - half, 0.0), min(100 * row.top1_test.mean + half, 100.0)]
    room = 0.08 * max(max(ends) - min(ends), 0.5)
    return [round(min(ends) - room, 3), round(max(ends) + room, 3)]


def over_budget(tables: Sequence[Table], colour: Mapping[str, str]) -> Figure | None:
    """Test accuracy over the budget, a line a method and target; None where no row was run at two budgets."""
    lines: dict[str, list[tuple[float, Row]]] = defaultdict(list)
    for table in tables:
        for row in table.rows:
            if row.target != "none":
                lines[f"{row.label}, {row.target}"].append((table.budget_amount, row))
    several = {name: found for name, found in lines.items() if len({amount for amount, _ in found}) > 1}
    if not several:
        return None
    unit = tables[0].budget_unit.replace("_", " ")
    data = []
    for i, (name, found) in enumerate(several.items()):
        found.sort(key=lambda each: each[0])
        hue = colour[found[0][1].method]
        data.append(
            {
                "type": "scatter",
                "x": [amount for amount, _ in found],
                "y": [100 * row.top1_test.mean for _, row in found],
                "error_y": _bars([row.top1_test for _, row in found], 100),
                "name": label(name),
                "mode": "lines+markers",
                "line": {"color": hue, "dash": "dot" if found[0][1].control else "solid"},
                "marker": {"color": hue, "size": 9, "symbol": SYMBOLS[i % len(SYMBOLS)]},
            }
        )
    return {
        "data": data,
        "layout": {
            **LAYOUT,
            "xaxis": {"title": {"text": f"budget ({unit})"}, "type": "log"},
            "yaxis": {"title": {"text": "test top-1 (%)"}},
        },
    }


def _lines(table: Table) -> dict[str, list[Row]]:
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in (*table.rows, *table.curve_only):
        lines[f"{row.label}{', auto' if row.target == 'auto' else ''}"].append(row)
    return lines


def _seeds(row: Row) -> str:
    return f"{row.top1_test.n} seed{'' if row.top1_test.n == 1 else 's'}"


def _macs(table: Table, row: Row) -> Estimate:
    return row.macs_nonzero if table.kind == "unstructured" else row.macs


def _bars(estimates: Sequence[Estimate], factor: float) -> Figure:
    widths = [each.half_width and each.half_width * factor for each in estimates]
    return {"type": "data", "array": widths, "visible": any(widths), "thickness": 1.2, "width": 4}
