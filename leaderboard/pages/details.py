"""What a row's records say beyond the table: cost by phase and widths by layer, means over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.leaderboard.board.board import Row
from bench.records.record import Point, Record

__all__ = ["PHASES", "PhaseCost", "RowDetails", "reward_points", "row_details"]

PHASES = ("dense", "search", "prune", "finetune")
"""As they follow each other in a run."""


@dataclass(frozen=True)
class PhaseCost:
    """What one phase cost, mean over seeds.

    Attributes:
        device_seconds: time the device was held.
        dense_epochs: MACs executed, in dense epochs; None where the records do not tell.
    """

    device_seconds: float
    dense_epochs: float | None


@dataclass(frozen=True)
class RowDetails:
    """More of a row.

    Attributes:
        cost: by phase, in the order of `PHASES`.
        kept: share of each layer that is kept, mean over seeds: output channels, or nonzero parameters where weights
            are pruned one by one.
        rewards: of a search, one after the other, a seed each; empty where none was logged.
    """

    cost: dict[str, PhaseCost]
    kept: dict[str, float]
    rewards: tuple[tuple[float, ...], ...] = ()


def row_details(row: Row, records: Mapping[str, Record]) -> RowDetails | None:
    """More of a row, from the records of its runs by run id; None where none of them is there."""
    own = row.runs[: row.badges.seeds]  # those of rows with the same networks come after them
    found = [records[run.run_id] for run in own if run.run_id in records]
    if not found:
        return None
    rewards = [_rewards(record) for record in sorted(found, key=lambda each: each.seed)]
    return RowDetails(
        {phase: _cost(phase, found) for phase in PHASES}, _kept(found), tuple(each for each in rewards if each)
    )


def _cost(phase: str, records: Sequence[Record]) -> PhaseCost:
    spent = [record.ledger.get(phase) for record in records]  # type: ignore[call-overload]
    epochs = [
        (each.macs if each else 0) / record.budget.dense_epoch_macs
        for each, record in zip(spent, records, strict=True)
        if record.budget.dense_epoch_macs
    ]
    return PhaseCost(
        fmean(each.device_seconds if each else 0.0 for each in spent),
        fmean(epochs) if len(epochs) == len(records) else None,
    )


def _kept(records: Iterable[Record]) -> dict[str, float]:
    shares: dict[str, list[float]] = {}
    for record in records:
        for layer in record.layers:
            if record.kind == "structured":
                share = layer.width_after / layer.width_before if layer.width_before else 1.0
            else:
                share = layer.nonzero / layer.params if layer.params else 1.0
            shares.setdefault(layer.name, []).append(share)
    return {name: fmean(values) for name, values in shares.items()}


def reward_points(record: Record) -> tuple[Point, ...]:
    """What a search was rewarded with, in order: all of its curve that `row_details` looks at."""
    return tuple(point for point in record.curve if point.phase == "search" and point.values.get("reward") is not None)


def _rewards(record: Record) -> tuple[float, ...]:
    return tuple(reward for point in reward_points(record) if (reward := point.values["reward"]) is not None)
