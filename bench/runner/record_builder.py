"""A record in the making: filled step by step, so that a run that fails still leaves what it had."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from bench.errors import UsageError
from bench.records.record import (
    BudgetRow,
    Layer,
    Measured,
    Point,
    Ratios,
    Record,
    Search,
    Spent,
    Status,
    results_sha256,
)
from bench.runner.manifest import manifest
from bench.specs.budget import Ledger
from bench.specs.claim import PREFIX
from bench.specs.run import RunSpec
from bench.trial.method import Method

__all__ = ["RecordBuilder", "budget_amount", "ratios_of", "search_of", "status_of", "tries_of"]


@dataclass
class RecordBuilder:
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
    search: Search | None = None
    wall_seconds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the time that is spent inside to the record's wall seconds."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.wall_seconds[phase] = self.wall_seconds.get(phase, 0.0) + time.monotonic() - begun

    def record(self, status: Status, error: str | None = None) -> Record:
        """The record, as far as it is filled."""
        spec = self.spec
        budget = BudgetRow(
            amount=budget_amount(spec),
            unit=spec.unit,
            dense_epoch_macs=self.ledger.budget.dense_epoch_macs if self.ledger else 0,
        )
        phases = self.ledger.as_dict() if self.ledger else {}
        made = Record(
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
            search=self.search,
            tries=tries_of(spec, self.method),
            wall_seconds={**self.wall_seconds, "total": time.monotonic() - self.begun},
            manifest=manifest(spec, self.command, **self.provenance),
        )
        return made.model_copy(update={"results_sha256": results_sha256(made)})


def search_of(curve: Sequence[Point]) -> Search | None:
    """What the method logged of its search: the last value of `search/episodes`, `search/distinct`, `search/winner` and
    `search/winner_in_warmup`; None where it logged no episodes."""
    last: dict[str, float] = {}
    for point in curve:
        last |= {name: value for name, value in point.values.items() if value is not None}
    episodes, distinct, winner = (last.get(f"search/{name}") for name in ("episodes", "distinct", "winner"))
    warm = last.get("search/winner_in_warmup")
    if episodes is None:
        return None
    return Search(
        episodes=round(episodes),
        distinct=None if distinct is None else round(distinct),
        winner=None if winner is None else round(winner),
        winner_in_warmup=None if warm is None else bool(warm),
    )


def tries_of(spec: RunSpec, method: type[Method]) -> int | None:
    """How many settings were tried before these, as the track says; of settings that a user gave nobody knows it."""
    own = method.Config.model_construct().model_dump(mode="json") == spec.config
    return spec.track.tries.get(spec.method) if own or spec.track.name.startswith(PREFIX) else None


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
