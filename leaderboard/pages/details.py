"""What a row's records say beyond the table: cost by phase and widths by layer, means over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.leaderboard.board.board import Row
from bench.records.record import Record, rewards_of

__all__ = ["PHASES", "PhaseCost", "RowDetails", "row_details"]

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


def row_details(
    row: Row, records: Mapping[str, Record], rewards: Mapping[str, Sequence[float]] | None = None
) -> RowDetails | None:
    """More of a row, from the records of its runs by run id; None where none of them is there.

    Args:
        row: the row.
        records: may be without their curves, where `rewards` are given.
        rewards: by run id, what searches were rewarded with; None: as the records' curves have it.
    """
    own = row.runs[: row.badges.seeds]  # those of rows with the same networks come after them
    found = [records[run.run_id] for run in own if run.run_id in records]
    if not found:
        return None
    searched = [
        tuple(rewards_of(record) if rewards is None else rewards.get(record.run_id, ()))
        for record in sorted(found, key=lambda each: each.seed)
    ]
    return RowDetails(
        {phase: _cost(phase, found) for phase in PHASES}, _kept(found), tuple(each for each in searched if each)
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
