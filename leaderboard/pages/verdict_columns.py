"""How verdicts are written: the same columns for the page and for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from bench.leaderboard.board.board import Estimate
from bench.leaderboard.pages.column import Column
from bench.leaderboard.verdicts.verdicts import ClaimVerdict
from bench.records.format import percent

__all__ = ["COLUMNS", "verdict_table"]

_NAMES = {
    "macs_reduction": "MACs removed",
    "macs_reduction_convolutions": "MACs removed, convolutions alone",
    "compression": "compression, biases counted",
    "compression_weights": "compression, weights alone",
    "filters_removed": "filters removed, of all",
    "filters_removed_by_layer": "filters removed, mean of layers",
    "top1_lead": "top-1 lead",
}


def _amount(value: float, unit: str, sign: bool = False) -> str:
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    return f"{text} {unit}".replace("-", "−").replace(" x", "×")


def _number(verdict: ClaimVerdict) -> str:
    number = verdict.number
    rival = f" over {number.rival}" if number.rival else ""
    ours = "" if number.published else " (ours)"
    return f"{_NAMES[number.measure]}{rival} at {number.target}{ours}"


def _claimed(verdict: ClaimVerdict) -> str:
    number = verdict.number
    text = _amount(number.claimed, number.unit)
    return f"above {text}" if number.significant else text


def _measured(verdict: ClaimVerdict) -> str:
    text = _interval(verdict.measured, verdict.number.unit)
    return f"{text} (asked for)" if verdict.measured and verdict.by_construction else text


def _interval(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return "–"
    width = "" if estimate.half_width is None else f" ± {estimate.half_width:.2f}"
    return _amount(estimate.mean, "").strip() + width + f" {unit}".replace(" x", "×")


def _difference(verdict: ClaimVerdict) -> str:
    return "–" if verdict.difference is None else _amount(verdict.difference, verdict.number.unit, sign=True)


def _loss(verdict: ClaimVerdict) -> str:
    return _interval(verdict.loss, "points")


def _allowed(verdict: ClaimVerdict) -> str:
    number = verdict.number
    return "–" if number.loss is None else _amount(number.loss + number.loss_tolerance, "points")


def _control_loss(verdict: ClaimVerdict) -> str:
    return _interval(verdict.control_loss, "points")


def _bound(verdict: ClaimVerdict) -> str:
    """The bounds that decide: of the loss or, for a lead, of the number."""
    estimate = verdict.measured if verdict.number.loss is None else verdict.loss
    if estimate is None:
        return "–"
    if estimate.half_width is None:
        return "one seed"
    return f"{estimate.lower:+.2f} to {estimate.upper:+.2f}".replace("-", "−")


def _dense(verdict: ClaimVerdict) -> str:
    return "–" if verdict.dense_top1 is None else percent(verdict.dense_top1.mean)


def _hours(verdict: ClaimVerdict) -> str:
    if verdict.hours is None:
        return "–"
    about = "about " if verdict.word == "not run" else ""
    return f"{about}{verdict.hours:.2g} h"


COLUMNS: tuple[Column[ClaimVerdict], ...] = (
    Column(
        "verdict",
        "by one-sided 95 % bounds over the seeds: reproduced where number and accuracy keep their limits at the bound, "
        "against the dense network and against dense with the same training; refuted where one breaks its limit at "
        "the other bound; else inconclusive",
        lambda verdict: verdict.word,
        False,
    ),
    Column("number", "what is measured, and the target that the method was run at", _number, False),
    Column("claimed", "as published; (ours): a point on the way, that no paper states", _claimed),
    Column(
        "measured",
        "mean over seeds with its 95 % Student interval; (asked for): the target is the number, so that reaching it is "
        "no finding and the verdict is that of the accuracy alone",
        _measured,
    ),
    Column("lost", "top-1 on test, dense minus pruned, paired by seed, 95 % interval", _loss),
    Column(
        "allowed", "loss that the claim may have, its tolerance included; fixed in its file before the run", _allowed
    ),
    Column("bounds", "one-sided 95 % bounds of what decides: the loss or, for a lead, the lead", _bound),
    Column("lost, control", "dense with the same extra training minus pruned, paired by seed", _control_loss),
    Column("difference", "measured minus claimed", _difference),
    Column("dense top-1", "of the dense networks that the runs began with, on test", _dense),
    Column("seeds", "seeds that were run", lambda verdict: str(len(verdict.seeds))),
    Column("device time", "of all runs; a guess where nothing was run", _hours),
)


def verdict_table(found: Sequence[ClaimVerdict]) -> Table:
    """All verdicts for a terminal."""
    table = Table(title="claims")
    table.add_column("claim", overflow="fold")
    for column in COLUMNS:
        table.add_column(column.title, justify="right" if column.number else "left")
    previous = ""
    for verdict in found:
        name = verdict.claim.name
        table.add_row(name if name != previous else "", *(column.cell(verdict) for column in COLUMNS))
        previous = name
    return table
