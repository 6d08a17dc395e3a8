"""A trial's state, as a journal keeps it and puts it back: the books, the network, the optimiser, the masks."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.budget import Amount
from bench.journal.contract import Checkpoint, State
from bench.record import Point
from bench.resume import TrainingSaver, network_tensors, optimiser_tensors, put_network, put_optimiser, split

if TYPE_CHECKING:
    from bench.trial import Trial

__all__ = ["TrialState"]


class TrialState:
    """What a journal needs of a trial (`bench.journal.contract.Resumable`)."""

    def __init__(self, trial: "Trial") -> None:
        self._trial = trial

    def books(self) -> dict[str, Any]:
        """Ledger, counters, and the number of points on the curve."""
        trial = self._trial
        return {
            "ledger": {name: asdict(amount) for name, amount in trial.ledger.phases.items()},
            "trained_calls": trial.trained_calls,
            "epochs_done": trial.epochs_done,
            "points": len(trial.curve),
        }

    def restore_books(self, books: Mapping[str, Any], points: list[dict[str, Any]]) -> None:
        """Puts the books back, and adds the points that the call put on the curve; the time since is not charged."""
        trial = self._trial
        for name, amount in books["ledger"].items():
            trial.ledger.phases[name] = Amount(**amount)
        trial.trained_calls, trial.epochs_done = books["trained_calls"], books["epochs_done"]
        trial.curve += [Point.model_validate(point) for point in points]
        trial.clock.lap()

    def points_since(self, count: int) -> list[dict[str, Any]]:
        """Points of the curve after the first `count`."""
        return [point.model_dump() for point in self._trial.curve[count:]]

    def trained(self) -> tuple[State, State]:
        """The network with its masks, and the optimiser."""
        trial = self._trial
        masks = {f"mask/{name}": mask for name, mask in trial.engine.weights.state_dict().items()}
        network = {f"network/{name}": tensor for name, tensor in network_tensors(trial.network).items()}
        return State({**network, **masks}), State(optimiser_tensors(trial.optimiser))

    def restore_trained(self, network: State, going_on: State | None) -> None:
        """Puts back what training left.

        Raises:
            StoreError: the tensors are of another network.
            SurgeryError: the masks are.
        """
        trial = self._trial
        put_network(trial.network, split(network.tensors, "network"))
        trial.engine.weights.load_state_dict(split(network.tensors, "mask"))
        put_optimiser(trial.optimiser, going_on.tensors if going_on else {}, trial.device)

    def saver(self, checkpoint: Checkpoint | None) -> TrainingSaver | None:
        """Keeps the training call that is under way; None where the journal keeps nothing."""
        if checkpoint is None:
            return None
        before = len(self._trial.curve)

        def books() -> dict[str, Any]:
            return {"books": self.books(), "points": self.points_since(before)}

        def restore(kept: Mapping[str, Any]) -> None:
            self.restore_books(kept["books"], kept["points"])

        return TrainingSaver(checkpoint, books, restore)
