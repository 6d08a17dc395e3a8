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

__all__ = [
    "LAYOUT",
    "PHASE_COLOURS",
    "SYMBOLS",
    "Figure",
    "colours",
    "cost",
    "in_script",
    "label",
    "line",
    "rewards",
    "speed",
]

Figure = dict[str, Any]

_PALETTE = ("#3b82f6", "#f97316", "#10b981", "#d946a8", "#8b5cf6", "#ca8a04", "#06b6d4", "#ef4444", "#84cc16")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "pentagon")
PHASE_COLOURS = {"dense": "#94a3b8", "search": "#ca8a04", "prune": "#3b82f6", "finetune": "#10b981"}
_GREY = "#888888"
LAYOUT: Figure = {
    "margin": {"l": 60, "r": 16, "t": 16, "b": 48},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
}


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
                line({"x0": 1, "x1": highest, "y0": 1, "y1": highest}),
                line({"xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1}, dash="dot"),
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


def line(ends: Figure, dash: str = "dash") -> Figure:
    """A grey line of reference, as a shape of a layout."""
    return {"type": "line", **ends, "line": {"dash": dash, "width": 1, "color": _GREY}}
