"""A trial's state, as a journal keeps it and puts it back: books, generator, network, optimiser, masks, hooks."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.journal.protocol import Checkpoint, State
from bench.journal.training_state import (
    TrainingSaver,
    hooks_state,
    network_tensors,
    optimiser_tensors,
    put_hooks,
    put_network,
    put_optimiser,
    split,
)
from bench.records.record import Point, Spent
from bench.specs.budget import Amount, Phase
from bench.specs.toml_file import describe
from bench.surgery.weights import WeightMasks
from bench.training.hooks import Hook
from bench.trial.calls import Calls

__all__ = ["TrialState"]


class _Books(BaseModel):
    """Books as they are read back: nothing else gets into a ledger."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    ledger: dict[Phase, Spent]
    trained_calls: Annotated[int, Field(ge=0, lt=2**31)]
    epochs_done: Annotated[float, Field(ge=0)]
    points: Annotated[int, Field(ge=0, lt=2**31)]
    rng: str | None = None


class TrialState:
    """What a journal needs of a trial (`bench.journal.protocol.Resumable`).

    Args:
        calls: whose network, ledger, generator, curve and optimiser are kept.
        weights: unstructured masks, likewise.

    Attributes:
        hooks: those of the training call that is under way, or was last.
    """

    def __init__(self, calls: Calls, weights: WeightMasks) -> None:
        self._calls, self._weights = calls, weights
        self.hooks: Sequence[Hook] = ()

    def books(self) -> dict[str, Any]:
        """Ledger, counters, the number of points on the curve, and the method's generator."""
        calls = self._calls
        return {
            "ledger": {name: asdict(amount) for name, amount in calls.ledger.phases.items()},
            "trained_calls": calls.trained,
            "epochs_done": calls.epochs_done,
            "points": len(calls.curve),
            "rng": base64.b64encode(calls.rng.get_state().numpy().tobytes()).decode(),
        }

    def restore_books(self, books: Mapping[str, Any], points: list[dict[str, Any]]) -> None:
        """Puts the books back, and adds the points that the call put on the curve; the time since is not charged.

        Raises:
            ValueError: they are nothing that `books` gives.
        """
        calls = self._calls
        try:
            kept = _Books.model_validate(dict(books))
        except ValidationError as error:
            raise ValueError(f"the books: {describe(error)}") from None
        for name, spent in kept.ledger.items():
            calls.ledger.phases[name] = Amount(**spent.model_dump())
        Spent.model_validate(asdict(calls.ledger.total))
        calls.trained, calls.epochs_done = kept.trained_calls, kept.epochs_done
        if kept.rng is not None:
            calls.rng.set_state(torch.frombuffer(bytearray(base64.b64decode(kept.rng)), dtype=torch.uint8))
        calls.curve += [Point.model_validate(point) for point in points]
        calls.clock.lap()

    def points_since(self, count: int) -> list[dict[str, Any]]:
        """Points of the curve after the first `count`."""
        return [point.model_dump() for point in self._calls.curve[count:]]

    def trained(self) -> tuple[State, State]:
        """The network with its masks and hooks, and the optimiser."""
        calls = self._calls
        masks = {f"mask/{name}": mask for name, mask in self._weights.state_dict().items()}
        network = {f"network/{name}": tensor for name, tensor in network_tensors(calls.network).items()}
        remembered = hooks_state(self.hooks)
        hooks = {f"hook/{name}": tensor for name, tensor in remembered.tensors.items()}
        return State({**network, **masks, **hooks}, remembered.values), State(optimiser_tensors(calls.optimiser))

    def restore_trained(self, network: State, going_on: State | None) -> None:
        """Puts back what training left.

        Raises:
            StoreError: the tensors are of another network.
            SurgeryError: the masks are.
        """
        calls = self._calls
        put_network(calls.network, split(network.tensors, "network"))
        self._weights.load_state_dict(split(network.tensors, "mask"))
        put_hooks(self.hooks, State(split(network.tensors, "hook"), network.values))
        put_optimiser(calls.optimiser, going_on.tensors if going_on else {}, calls.network)

    def saver(self, checkpoint: Checkpoint | None) -> TrainingSaver | None:
        """Keeps the training call that is under way; None where the journal keeps nothing."""
        if checkpoint is None:
            return None
        before = len(self._calls.curve)

        def books() -> dict[str, Any]:
            return {"books": self.books(), "points": self.points_since(before)}

        def restore(kept: Mapping[str, Any]) -> None:
            self.restore_books(kept["books"], kept["points"])

        return TrainingSaver(checkpoint, books, restore)
