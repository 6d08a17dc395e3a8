"""One training call of a trial: the training loop with the trial's charges, curve and checkpoint around it."""

from collections.abc import Sequence

from bench.seeding import generator
from bench.specs.budget import TRAINING, Phase
from bench.training.hooks import Epoch, History, Hook, Observer
from bench.training.trainer import Allowance, Loss, Penalty, Trainer
from bench.trial.calls import Calls
from bench.trial.passes import Passes
from bench.trial.state import TrialState
from bench.trial.surgery import TrialSurgery

__all__ = ["Training"]

_CURVE_POINTS = 20  # validation is looked at no more often than this in one training call


class Training:
    """Trains a trial's network within an allowance.

    Args:
        calls: charged, and whose curve gets a point an epoch.
        state: keeps the hooks and makes checkpoints.
        surgery: gives groups for observers and unstructured masks.
        passes: for hooks and for the curve.
        observers: see every call.
    """

    def __init__(
        self, calls: Calls, state: TrialState, surgery: TrialSurgery, passes: Passes, observers: Sequence[Observer]
    ) -> None:
        self._calls, self._state, self._surgery, self._passes = calls, state, surgery, passes
        self.observers = observers

    def run(
        self,
        phase: Phase,
        allowance: Allowance,
        loss: Loss | None = None,
        hooks: Sequence[Hook] = (),
        schedule: tuple[float, float] = (0.0, 1.0),
        penalty: Penalty | None = None,
    ) -> History:
        """Trains as `trial.train` says; an empty history where the allowance is less than a batch."""
        calls, passes = self._calls, self._passes
        images = len(passes.data.train)
        if allowance.images < min(passes.recipe.batch_size, images):
            return History()
        if allowance.seconds is not None and allowance.seconds <= 0:
            return History()
        total = allowance.images / images
        every = max(1, int(min(total, 1e6) / _CURVE_POINTS)) if allowance.seconds is None else 1
        begun = calls.ledger.spent
        wanted = max(calls.ledger.left, 1e-12) if allowance.seconds is None else allowance.seconds

        def stepped(count: int) -> None:
            calls.charge(phase, count, TRAINING, steps=1, macs=self._surgery.macs)

        def ended(epoch: Epoch) -> None:
            values: dict[str, float | None] = {
                "train_loss": epoch.train_loss,
                "learning_rate": epoch.learning_rate,
                "macs": self._surgery.macs,
            }
            with calls.clock.stopped():
                if epoch.epochs >= total * (1 - 1e-9) or round(epoch.epochs) % every == 0:
                    values["top1_val"] = passes.look().top1
                calls.report(phase, min(1.0, (calls.ledger.spent - begun) / wanted))
            calls.mark(phase, values, epoch.epochs)

        trainer = Trainer(
            calls.network,
            passes.data,
            passes.recipe,
            passes.precision,
            calls.optimiser,
            groups=self._surgery.groups if self.observers else (),
            weights=self._surgery.weights,
            forward=passes.hook_forward,
            gradients=passes.hook_gradients,
            on_step=stepped,
            on_epoch=ended,
        )
        order = generator(calls.seed, "train", calls.trained)
        calls.trained += 1
        saver = self._state.saver(calls.journal.checkpoint())
        history = trainer.train(allowance, order, loss, hooks, self.observers, saver, schedule, penalty)
        calls.epochs_done += history.epochs[-1].epochs if history.epochs else 0.0
        return history
