"""A record in the making: filled step by step, so that a run that fails still leaves what it had."""

from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from bench.errors import UsageError
from bench.records.record import BudgetRow, Layer, Measured, Point, Ratios, Record, Spent, Status
from bench.runner.manifest import manifest
from bench.specs.budget import Ledger
from bench.specs.run import RunSpec
from bench.trial.method import Method

__all__ = ["Draft", "budget_amount", "ratios_of", "status_of"]


@dataclass
class Draft:
    """What a record is made of, filled step by step, so that a run that fails still leaves what it had."""

    spec: RunSpec
    method: type[Method]
    command: str
    ledger: Ledger | None = None
    dense: Measured | None = None
    pruned: Measured | None = None
    ratios: Ratios | None = None
    layers: tuple[Layer, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def record(self, status: Status, error: str | None = None) -> Record:
        spec = self.spec
        budget = BudgetRow(
            amount=budget_amount(spec),
            unit=spec.unit,
            dense_epoch_macs=self.ledger.budget.dense_epoch_macs if self.ledger else 0,
        )
        phases = self.ledger.as_dict() if self.ledger else {}
        return Record(
            run_id=spec.run_id,
            status=status,
            error=error,
            method=spec.method,
            kind=self.method.kind,
            control=self.method.control,
            config=spec.config,
            track=spec.track.name,
            track_fields=spec.track.model_dump(mode="json"),
            target=str(spec.target),
            seed=spec.seed,
            dense=self.dense,
            pruned=self.pruned,
            ratios=self.ratios,
            layers=self.layers,
            left_out=self.left_out,
            budget=budget,
            ledger={name: Spent.model_validate(phase) for name, phase in phases.items()},  # type: ignore[misc]
            curve=self.curve,
            manifest=manifest(spec, self.command, **self.facts),
        )


def budget_amount(spec: RunSpec) -> float:
    """The run's budget, in its unit.

    Raises:
        UsageError: the track has no budget in this unit.
    """
    budget = spec.track.budget
    if spec.unit == "dense_epochs":
        return budget.dense_epochs
    if budget.device_seconds is None:
        raise UsageError(f"track {spec.track.name!r} has no budget in device_seconds. Give one: --budget 600s.")
    return budget.device_seconds


def ratios_of(dense: Measured, pruned: Measured, layers: tuple[Layer, ...], prunable: set[str]) -> Ratios:
    """The pruned network against the dense one; `prunable` names the layers whose filters count as removable."""
    rows = [layer for layer in layers if layer.name in prunable]
    before, after = (sum(getattr(row, name) for row in rows) for name in ("width_before", "width_after"))
    return Ratios(
        macs=pruned.macs / dense.macs,
        params=pruned.params / dense.params,
        compression=dense.params / max(1, pruned.nonzero),
        compression_weights=dense.weights / max(1, pruned.weights_nonzero or 0) if dense.weights else None,
        filters_removed=1 - after / before if before else 0.0,
        filters_removed_by_layer=fmean(1 - row.width_after / row.width_before for row in rows) if rows else 0.0,
    )


def status_of(spec: RunSpec, method: type[Method], dense: Measured, pruned: Measured, ratios: Ratios) -> Status:
    """How a run that came to its end stands: its dense network against the floor, its size against the target."""
    if dense.top1_val < spec.track.floor:
        return "undertrained"
    reached = ratios.macs
    if spec.target.measure == "params":
        reached = ratios.params if method.kind == "structured" else pruned.nonzero / dense.params
    return "ok" if spec.target.met_by(reached, spec.track.tolerance) else "missed-target"
