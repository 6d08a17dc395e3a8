"""The plot of a table: accuracy over multiply-accumulates, as JSON for plotly."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.leaderboard.board import Estimate, Row, Table

__all__ = ["colours", "plot_json"]

_PALETTE = ("#3b82f6", "#f97316", "#10b981", "#d946a8", "#8b5cf6", "#ca8a04", "#06b6d4", "#ef4444", "#84cc16")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "pentagon")
_LOG_FROM = 20  # ratio of the largest to the smallest x from which the axis is logarithmic


def colours(methods: Sequence[str]) -> dict[str, str]:
    """One colour a method, the same in every plot of a page."""
    return {method: _PALETTE[i % len(_PALETTE)] for i, method in enumerate(sorted(methods))}


def plot_json(table: Table, colour: Mapping[str, str]) -> str:
    """The figure, as JSON that is safe inside a script element.

    Unstructured pruning is drawn over the MACs of nonzero weights, since it leaves the layers' widths alone.
    """
    import plotly.graph_objects as go

    lines: dict[str, list[Row]] = defaultdict(list)
    for row in (*table.rows, *table.curve_only):
        lines[f"{row.label}{', auto' if row.target == 'auto' else ''}"].append(row)
    largest = max([table.dense_macs, *(_x(table, row).mean for rows in lines.values() for row in rows)])
    factor, unit = (1e-9, "G") if largest >= 1e9 else (1e-6, "M") if largest >= 1e6 else (1e-3, "k")

    figure = go.Figure()
    dense = table.dense_top1_test
    figure.add_hline(y=100 * dense.mean, line={"dash": "dash", "width": 1, "color": "#888888"})
    figure.add_scatter(
        x=[table.dense_macs * factor],
        y=[100 * dense.mean],
        error_y=_bars([dense], 100),
        name="dense network",
        mode="markers",
        marker={"symbol": "star", "size": 12, "color": "#888888"},
    )
    for i, (name, rows) in enumerate(lines.items()):
        rows.sort(key=lambda row: _x(table, row).mean)
        auto, hue = rows[0].target == "auto", colour[rows[0].method]
        figure.add_scatter(
            x=[_x(table, row).mean * factor for row in rows],
            y=[100 * row.top1_test.mean for row in rows],
            error_x=_bars([_x(table, row) for row in rows], factor),
            error_y=_bars([row.top1_test for row in rows], 100),
            text=[escape(f"{row.target}, {row.top1_test.n} seeds") for row in rows],
            hovertemplate="%{y:.2f} % at %{x:.3g} " + unit + " MACs<br>%{text}",
            name=escape(name),
            mode="markers" if auto else "lines+markers",
            line={"color": hue, "dash": "dot" if rows[0].control else "solid"},
            marker={
                "color": hue,
                "size": 9,
                "symbol": _SYMBOLS[i % len(_SYMBOLS)] + ("-open" if auto else ""),
            },
        )
    xs = [_x(table, row).mean for rows in lines.values() for row in rows] + [table.dense_macs]
    over = "MACs of nonzero weights" if table.kind == "unstructured" else "MACs"
    figure.update_layout(
        template=None,
        margin={"l": 60, "r": 16, "t": 16, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis={
            "title": {"text": f"{over} of one image ({unit})"},
            "type": "log" if min(xs) > 0 and max(xs) / min(xs) >= _LOG_FROM else "linear",
        },
        yaxis={"title": {"text": "test top-1 (%)"}},
    )
    return _in_script(figure.to_json())


def _x(table: Table, row: Row) -> Estimate:
    return row.macs_nonzero if table.kind == "unstructured" else row.macs


def _bars(estimates: Sequence[Estimate], factor: float) -> dict[str, Any]:
    widths = [each.half_width and each.half_width * factor for each in estimates]
    return {"type": "data", "array": widths, "visible": any(widths), "thickness": 1.2, "width": 4}


def _in_script(json_text: str) -> str:
    """JSON whose text cannot end the script element that holds it."""
    for character in "<>&\u2028\u2029":
        json_text = json_text.replace(character, f"\\u{ord(character):04x}")
    return json_text
