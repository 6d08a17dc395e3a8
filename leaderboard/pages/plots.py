"""The plots as plain JSON for plotly: made without plotly, so that ten thousand of them are quick to make.

Plotly reads names and hover texts as a little HTML of its own; `label` makes them plain text again.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from bench.leaderboard.board.board import Row, Table
from bench.leaderboard.pages.details import PHASES, RowDetails
from bench.leaderboard.stats.estimate import Estimate

__all__ = [
    "LAYOUT",
    "PHASE_COLOURS",
    "Figure",
    "accuracy",
    "colours",
    "cost",
    "in_script",
    "label",
    "over_budget",
    "pareto",
    "rewards",
    "speed",
]

Figure = dict[str, Any]

_PALETTE = ("#3b82f6", "#f97316", "#10b981", "#d946a8", "#8b5cf6", "#ca8a04", "#06b6d4", "#ef4444", "#84cc16")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "pentagon")
PHASE_COLOURS = {"dense": "#94a3b8", "search": "#ca8a04", "prune": "#3b82f6", "finetune": "#10b981"}
_GREY = "#888888"
LAYOUT: Figure = {
    "margin": {"l": 60, "r": 16, "t": 16, "b": 48},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
}
_LOG_FROM = 20  # ratio of the largest to the smallest x from which the axis is logarithmic


def colours(methods: Iterable[str]) -> dict[str, str]:
    """One colour a method, the same in every plot of a page."""
    return {method: _PALETTE[i % len(_PALETTE)] for i, method in enumerate(sorted(methods))}


def label(text: str) -> str:
    """Text that plotly shows as it is: it knows these three entities, and no `&quot;`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def in_script(value: Any) -> str:
    """JSON whose text cannot end the script element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


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
                "marker": {"color": hue, "size": 9, "symbol": _SYMBOLS[i % len(_SYMBOLS)] + ("-open" if auto else "")},
            }
        )
    xs = [_macs(table, row).mean for row in rows] or [table.dense_macs]
    over = "MACs of nonzero weights" if table.kind == "unstructured" else "MACs"
    line = {"xref": "paper", "x0": 0, "x1": 1, "y0": dense, "y1": dense}
    said = {"xref": "paper", "x": 1, "xanchor": "right", "y": dense, "yanchor": "bottom", "showarrow": False}
    return {
        "data": data,
        "layout": {
            **LAYOUT,
            "shapes": [_line(line)],
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
                "marker": {"color": hue, "size": 9, "symbol": _SYMBOLS[i % len(_SYMBOLS)]},
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


def speed(table: Table, colour: Mapping[str, str]) -> Figure | None:
    """Measured speed-up over the reduction of MACs, a point a row and batch size; None where nothing was timed.

    On the diagonal a network is as much faster as its MACs are fewer. For unstructured pruning the reduction is that by
    nonzero weights, which no dense kernel makes use of.
    """
    points: dict[tuple[str, int], list[tuple[Row, float, float]]] = defaultdict(list)
    for row in (*table.rows, *table.curve_only):
        kept = row.macs_nonzero_ratio if table.kind == "unstructured" else row.macs_ratio
        for change in row.latency:
            if not change.doubt and kept > 0 and 0 < change.speedup < float("inf"):
                points[row.method, change.batch].append((row, 1 / kept, change.speedup))
    if not points:
        return None
    every = [point for found in points.values() for point in found]
    batches = sorted({batch for _, batch in points})
    highest = max(max(x for _, x, _ in every), 1.0)
    data = []
    for (method, batch), found in sorted(points.items(), key=lambda each: each[0]):
        first = batch == next(b for m, b in sorted(points) if m == method)
        data.append(
            {
                "type": "scatter",
                "x": [x for _, x, _ in found],
                "y": [y for _, _, y in found],
                "text": [label(f"{row.label}, {row.target}, batch {batch}") for row, _, _ in found],
                "hovertemplate": "%{text}<br>%{x:.3g}× fewer MACs, %{y:.3g}× faster<extra></extra>",
                "name": label(method),
                "legendgroup": label(method),
                "showlegend": first,
                "mode": "markers",
                "marker": {
                    "color": colour[method],
                    "size": 9,
                    "symbol": ("circle", "square-open", "diamond-open")[min(batches.index(batch), 2)],
                    "line": {"width": 2, "color": colour[method]},
                },
            }
        )
    by = ", by nonzero weights" if table.kind == "unstructured" else ""
    return {
        "data": data,
        "layout": {
            **LAYOUT,
            "shapes": [
                _line({"x0": 1, "x1": highest, "y0": 1, "y1": highest}),
                _line({"xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1}, dash="dot"),
            ],
            "xaxis": {"title": {"text": f"MACs, dense / pruned{by}"}, "type": "log", "dtick": "D2"},
            "yaxis": {"title": {"text": "latency, dense / pruned"}, "type": "log", "dtick": "D2"},
        },
    }


def cost(rows: Sequence[tuple[Row, RowDetails]], unit: str) -> Figure:
    """Stacked bars: what each phase cost, mean over seeds.

    Args:
        rows: what is drawn, from the top.
        unit: `device_seconds` or `dense_epochs`; a row that has no number in it has no bar.
    """
    names = [label(row.label if row.target == "none" else f"{row.label}, {row.target}") for row, _ in rows]
    title = {"device_seconds": "device seconds", "dense_epochs": "dense epochs"}[unit]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "name": phase,
                "y": names,
                "x": [getattr(details.cost[phase], unit) for _, details in rows],
                "marker": {"color": PHASE_COLOURS[phase]},
                "hovertemplate": "%{y}<br>" + phase + ": %{x:.4g} " + title + "<extra></extra>",
            }
            for phase in PHASES
        ],
        "layout": {
            **LAYOUT,
            "barmode": "stack",
            "bargap": 0.25,
            "xaxis": {"title": {"text": f"{title}, mean over seeds"}},
            "yaxis": {"autorange": "reversed", "type": "category", "dtick": 1, "tickfont": {"size": 11}},
        },
    }


def rewards(rows: Sequence[tuple[Row, RowDetails]], colour: Mapping[str, str]) -> Figure:
    """Rewards of searches side by side, a panel a row: each reward a point, the best so far a line, one a seed.

    Every panel has a scale of its own, since methods are rewarded for different things.
    """
    gap = 0.25 / len(rows)
    width = (1 + gap) / len(rows) - gap
    data: list[Figure] = []
    layout: Figure = {**LAYOUT, "showlegend": False, "annotations": []}
    for i, (row, details) in enumerate(rows):
        number, left = str(i + 1) if i else "", i * (width + gap)
        hue, axes = colour[row.method], {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        for found in details.rewards:
            steps = list(range(1, len(found) + 1))
            plain = {"type": "scatter", "x": steps, "name": label(row.label), **axes}
            points = {"color": hue, "size": 5, "opacity": 0.45}
            data.append({**plain, "y": list(found), "mode": "markers", "marker": points})
            best = list(accumulate(found, max))
            data.append({**plain, "y": best, "mode": "lines", "line": {"color": hue, "shape": "hv"}})
        layout[f"xaxis{number}"] = {"domain": [left, left + width], "anchor": f"y{number}", "title": {"text": "step"}}
        layout[f"yaxis{number}"] = {"anchor": f"x{number}", "nticks": 6}
        heading = {"xref": "paper", "yref": "paper", "x": left, "xanchor": "left", "y": 1, "yanchor": "bottom"}
        layout["annotations"].append({**heading, "text": label(row.label), "showarrow": False})
    layout["margin"] = {**LAYOUT["margin"], "t": 32}
    return {"data": data, "layout": layout}


def _lines(table: Table) -> dict[str, list[Row]]:
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in (*table.rows, *table.curve_only):
        lines[f"{row.label}{', auto' if row.target == 'auto' else ''}"].append(row)
    return lines


def _line(ends: Figure, dash: str = "dash") -> Figure:
    return {"type": "line", **ends, "line": {"dash": dash, "width": 1, "color": _GREY}}


def _seeds(row: Row) -> str:
    return f"{row.top1_test.n} seed{'' if row.top1_test.n == 1 else 's'}"


def _macs(table: Table, row: Row) -> Estimate:
    return row.macs_nonzero if table.kind == "unstructured" else row.macs


def _bars(estimates: Sequence[Estimate], factor: float) -> Figure:
    widths = [each.half_width and each.half_width * factor for each in estimates]
    return {"type": "data", "array": widths, "visible": any(widths), "thickness": 1.2, "width": 4}
