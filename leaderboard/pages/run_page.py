"""What the template of a run's page needs.

Each run has a small HTML page of its own, not a file of data that one shared page would load: it can be linked,
searched and read without a script, and its text is escaped like all other. There may be ten thousand, so this goes
straight from the record to one template's words, without the blocks of `bench.leaderboard.pages.blocks`: a page takes
less than half a millisecond to make (`tests/benchmarks/bench_leaderboard.py`).
"""

import shlex
from collections.abc import Mapping
from typing import Any

from bench.leaderboard.pages.details import PHASES
from bench.leaderboard.pages.html import definitions, plain_rows
from bench.leaderboard.pages.links import INDEX, method_page, track_page
from bench.leaderboard.pages.plots import LAYOUT, PHASE_COLOURS, Figure, label
from bench.records.format import duration, milliseconds, percent, quantity, spent_text
from bench.records.record import Measured, Point, Record

__all__ = ["run_context"]

_SECOND: Figure = {"type": "log", "dtick": "D2", "overlaying": "y", "side": "right", "showgrid": False}
_TRAINING = {"top1_val", "train_loss", "learning_rate", "macs", "params"}
_LABELLED = 0.08  # share of the axis that a phase must take for its name to fit
_SHOWN_FIRST = ("reward", "best")


def run_context(record: Record, has_track_page: bool) -> dict[str, Any]:
    """The template's words for one run.

    Args:
        record: the run.
        has_track_page: whether its track has a page to link to.
    """
    manifest = record.manifest
    track = track_page(record.track) if has_track_page else None
    crumbs = [{"text": "Leaderboard", "href": INDEX}]
    crumbs.append(
        {"text": record.track, "href": track} if track else {"text": record.method, "href": method_page(record.method)}
    )
    training, logged = _curve(record), _logged(record)
    command = manifest.get("command")
    return {
        "record": record,
        "here": record.run_id,
        "crumbs": crumbs,
        "method_href": method_page(record.method),
        "track_href": track,
        "command": shlex.join(map(str, command))
        if isinstance(command, list | tuple)
        else text(command)
        if command
        else "",
        "spent": spent_text(record),
        "results": plain_rows(_results(record)),
        "layers": plain_rows(_layers(record)),
        "ledger": plain_rows(_ledger(record)),
        "not_offered": definitions(record.left_out.items()),
        "config": definitions((name, text(value)) for name, value in record.config.items()),
        "manifest": definitions((name, text(value)) for name, value in manifest.items() if name != "command"),
        "fields": definitions((name, text(value)) for name, value in record.track_fields.items()),
        "training": training,
        "logged": logged,
    }


def text(value: Any) -> str:
    """A JSON value in a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _results(record: Record) -> list[tuple[str, str, str, str]]:
    """Measure, dense, pruned, and pruned against dense."""
    dense, pruned = record.dense, record.pruned
    if dense is None and pruned is None:
        return []
    rows = []
    for title, name in _ACCURACIES:
        before, after = _of(dense, name), _of(pruned, name)
        if before is not None or after is not None:
            rows.append((title, _percent(before), _percent(after), _points(before, after)))
    for title, name, unit in _SIZES:
        before, after = _of(dense, name), _of(pruned, name)
        if before is None and after is None:
            continue
        kept = f"{100 * after / before:.4g} %" if before and after is not None else "–"
        rows.append((title, _quantity(before, unit), _quantity(after, unit), kept))
    before_by = {row.batch: row for row in dense.latency} if dense else {}
    after_by = {row.batch: row for row in pruned.latency} if pruned else {}
    for batch in sorted(before_by | after_by):
        one, two = before_by.get(batch), after_by.get(batch)
        times = f"{one.median_seconds / two.median_seconds:.3g}× as fast" if one and two and two.median_seconds else "–"
        rows.append((f"latency, batch {batch}", _latency(one), _latency(two), times))
    return rows


_ACCURACIES = (("top-1, test", "top1_test"), ("top-1, validation", "top1_val"), ("top-5, test", "top5_test"))
_SIZES = (
    ("MACs", "macs", ""),
    ("MACs, nonzero weights", "macs_nonzero", ""),
    ("MACs, convolutions", "macs_convolutions", ""),
    ("parameters", "params", ""),
    ("parameters, nonzero", "nonzero", ""),
    ("stored tensors", "bytes", "B"),
    ("peak memory", "peak_bytes", "B"),
)


def _of(measured: Measured | None, name: str) -> float | None:
    return None if measured is None else getattr(measured, name)


def _quantity(value: float | None, unit: str) -> str:
    return "–" if value is None else quantity(value) + (unit if value >= 1e3 else f" {unit}").rstrip()


def _percent(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _points(before: float | None, after: float | None) -> str:
    return "–" if before is None or after is None else f"{100 * (after - before):+.2f} points".replace("-", "−")


def _latency(row: Any) -> str:
    return "–" if row is None else f"{milliseconds(row.median_seconds)} (IQR {row.iqr_seconds * 1e3:.2g})"


def _layers(record: Record) -> list[tuple[str, ...]]:
    """Name, width before and after, share kept, parameters, nonzero ones, MACs."""
    return [
        (
            layer.name,
            str(layer.width_before),
            str(layer.width_after),
            percent(layer.width_after / layer.width_before, 0) if layer.width_before else "–",
            str(layer.params),
            str(layer.nonzero),
            quantity(layer.macs),
        )
        for layer in record.layers
    ]


def _ledger(record: Record) -> list[tuple[str, str, str, str, str, str]]:
    """Phase, dense epochs, device time, steps, images trained, images forward."""
    epoch = record.budget.dense_epoch_macs
    return [
        (
            phase,
            f"{spent.macs / epoch:.4g}" if epoch else "–",
            duration(spent.device_seconds),
            str(spent.steps),
            str(spent.images_trained),
            str(spent.images_forward),
        )
        for phase in (*PHASES, "total")
        if (spent := record.ledger.get(phase)) is not None  # type: ignore[call-overload]
    ]


def _curve(record: Record) -> Figure | None:
    """Validation top-1, training loss and the share of MACs that is left, over what was spent; None without a curve."""
    points = [(round(point.spent, 3), point.values) for point in record.curve]
    accuracy = _series(points, "top1_val", 100)
    loss = _series(points, "train_loss", 1)
    macs = _series(points, "macs", 100 / record.dense.macs) if record.dense and record.dense.macs else ([], [])
    if not (accuracy[0] or loss[0]):
        return None
    data = [
        _trace("validation top-1 (%)", accuracy, "#3b82f6"),
        _trace("MACs left (%)", macs, "#888888", line={"dash": "dot", "width": 1.5, "shape": "hv"}),
        _trace("training loss", loss, "#f97316", yaxis="y2"),
    ]
    return {
        "data": [trace for trace in data if trace["x"]],
        "layout": {
            **LAYOUT,
            "margin": {"l": 56, "r": 56, "t": 16, "b": 48},
            "hovermode": "x unified",
            "shapes": _phases(record.curve),
            "xaxis": {"title": {"text": f"spent, {record.budget.unit.replace('_', ' ')}"}},
            "yaxis": {"title": {"text": "%"}},
            "yaxis2": {
                "title": {"text": "loss"},
                "type": "log",
                "tickmode": "auto",
                "overlaying": "y",
                "side": "right",
                "showgrid": False,
            },
        },
    }


def _series(
    points: list[tuple[float, dict[str, float | None]]], name: str, factor: float
) -> tuple[list[float], list[float]]:
    """What was spent, and the values of one name."""
    found = [(spent, factor * value) for spent, values in points if (value := values.get(name)) is not None]
    return [spent for spent, _ in found], [round(value, 5) for _, value in found]


def _phases(curve: tuple[Point, ...]) -> list[Figure]:
    """A band in the phase's colour for each stretch of the curve."""
    bands: list[Figure] = []
    phase, begun = "", 0.0
    for point in curve:
        if point.phase not in (phase, "search"):
            phase = point.phase
            bands.append({"type": "rect", "layer": "below", "yref": "paper", "y0": 0, "y1": 1, "x0": round(begun, 3)})
            bands[-1] |= {"fillcolor": PHASE_COLOURS[phase], "opacity": 0.1, "line": {"width": 0}}
            bands[-1]["label"] = {"text": phase, "textposition": "top left", "font": {"size": 11}}
        if bands:
            bands[-1]["x1"] = round(point.spent, 3)
        begun = point.spent
    for band in bands:
        if band["x1"] - band["x0"] < _LABELLED * begun:
            del band["label"]
    return bands


def _logged(record: Record) -> Figure | None:
    """What the method logged between epochs, such as rewards, in order; None where it logged nothing."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    number = 0
    for point in record.curve:
        if point.phase != "search" and _TRAINING.issuperset(point.values):
            continue
        number += 1
        for name, value in point.values.items():
            if value is not None and name not in _TRAINING:
                xs, ys = found.setdefault(name, ([], []))
                xs.append(number)
                ys.append(float(f"{value:.5g}"))
    if not found:
        return None
    first = [name for name in _SHOWN_FIRST if name in found]
    data = []
    for name, points in found.items():
        hidden = {"visible": "legendonly"} if first and name not in first else {}
        data.append(_trace(label(name), points, None, **hidden, mode="lines+markers", marker={"size": 4}))
    return {
        "data": data,
        "layout": {
            **LAYOUT,
            "xaxis": {"title": {"text": "what the method logged, in order"}},
            "yaxis": {"title": {"text": "value"}},
        },
    }


def _trace(name: str, points: tuple[list[float], list[float]], colour: str | None, **more: Any) -> Figure:
    trace: Figure = {"type": "scatter", "mode": "lines", "name": name, "x": points[0], "y": points[1], **more}
    if colour:
        trace["line"] = {"color": colour, "width": 2} | more.get("line", {})
    return trace
