"""The pictures of a ranking as plain JSON for plotly: rank intervals as bars, and the matrix of pairs."""

from collections.abc import Sequence

from bench.leaderboard.board.board import Row
from bench.leaderboard.board.comparison import PairTest, TargetRanking
from bench.leaderboard.pages.plots import LAYOUT, Figure, label
from bench.records.format import percent

__all__ = ["OUTCOME_COLOURS", "matrix_rows", "pair_matrix", "rank_bars"]

OUTCOME_COLOURS = {
    "better": "#15803d",
    "better on these images": "#86c99b",
    "worse": "#b45309",
    "worse on these images": "#e5b37b",
    "equivalent": "#5b8def",
    "unknown": "#9ca3af",
}
_ORDER = tuple(OUTCOME_COLOURS)
_MATRIX_ROWS = 25


def rank_bars(rows: Sequence[Row]) -> Figure | None:
    """A bar from the first to the last rank that each method may have, the best mean on top; None without two ranks."""
    ranked = [(row, row.rank) for row in rows if row.rank is not None]
    if len(ranked) < 2:
        return None
    names = [label(row.label) for row, _ in ranked]
    many = ranked[0][1].methods
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": names,
                "base": [rank.low - 0.4 for _, rank in ranked],
                "x": [rank.high - rank.low + 0.8 for _, rank in ranked],
                "width": 0.55,
                "text": [
                    f"{rank.low}" if rank.low == rank.high else f"{rank.low} to {rank.high}" for _, rank in ranked
                ],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "marker": {
                    "color": ["#9dbcf5" if rank.provisional else "#3b82f6" for _, rank in ranked],
                },
                "customdata": [f"{percent(row.top1_test.mean)} top-1, {row.top1_test.n} seeds" for row, _ in ranked],
                "hovertemplate": "%{y}: rank %{text}<br>%{customdata}<extra></extra>",
                "showlegend": False,
            }
        ],
        "layout": {
            **LAYOUT,
            "margin": {"l": 16, "r": 16, "t": 8, "b": 44},
            "xaxis": {"title": {"text": "rank"}, "range": [0.5, many + 0.5], "dtick": max(1, many // 12), "tick0": 1},
            "yaxis": {"autorange": "reversed", "type": "category", "dtick": 1, "automargin": True},
        },
    }


def matrix_rows(target: TargetRanking) -> int:
    """How many rows the matrix of a target has; 0 where there is none."""
    whole = len(target.pair_tests) == target.pairs
    return len(target.rows) if target.pairs and whole and len(target.rows) <= _MATRIX_ROWS else 0


def pair_matrix(target: TargetRanking) -> Figure | None:
    """Row against column, coloured by what is known; the numbers are on hover. None where pairs are missing."""
    if not matrix_rows(target):
        return None
    tests = {(test.better, test.other): test for test in target.pair_tests}
    names = [label(name) for name in target.rows]
    codes: list[list[int | None]] = []
    hovers: list[list[str]] = []
    for name in target.rows:
        cells = [_cell(name, other, tests) for other in target.rows]
        codes.append([code for code, _ in cells])
        hovers.append([text for _, text in cells])
    steps = len(_ORDER)
    scale = [[edge, OUTCOME_COLOURS[name]] for i, name in enumerate(_ORDER) for edge in (i / steps, (i + 1) / steps)]
    heat = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": codes,
        "zmin": -0.5,
        "zmax": steps - 0.5,
        "colorscale": scale,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "text": hovers,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
    }
    said = {code for row in codes for code in row if code is not None}
    keys = [
        {
            "type": "scatter",
            "x": [None],
            "y": [None],
            "mode": "markers",
            "name": name,
            "marker": {"symbol": "square", "size": 11, "color": OUTCOME_COLOURS[name]},
        }
        for i, name in enumerate(_ORDER)
        if i in said
    ]
    return {
        "data": [heat, *keys],
        "layout": {
            **LAYOUT,
            "showlegend": True,
            "meta": "legend on top",  # on a phone, too: below it the names of the rows would lie over it
            "margin": {"l": 16, "r": 16, "t": 16, "b": 16},
            "xaxis": {"type": "category", "tickangle": -40, "automargin": True, "showgrid": False},
            "yaxis": {"type": "category", "autorange": "reversed", "automargin": True, "showgrid": False},
        },
    }


def _cell(name: str, other: str, tests: dict[tuple[str, str], PairTest]) -> tuple[int | None, str]:
    """What the row is, seen from the column: a code of `_ORDER`, and the numbers."""
    if name == other:
        return None, ""
    won = tests.get((name, other))
    test = won or tests[other, name]
    sign = 1 if won else -1
    outcome = test.outcome if won else test.outcome.replace("better", "worse")
    low, high = sorted((sign * test.interval.low, sign * test.interval.high))
    words = outcome if outcome in ("equivalent", "unknown") else f"{outcome.replace(' on', ', on')}"
    text = (
        f"{label(name)} against {label(other)}: {words}<br>{100 * sign * test.difference:+.2f} points, 95 % for other "
        f"seeds {100 * low:+.2f} to {100 * high:+.2f}<br>p by Holm {test.p_holm:.2g}"
    )
    return _ORDER.index(outcome), text.replace("-", "−")
