"""What every call of a trial goes through: its number, the guard, generators of its own, the journal, and the charge.

It knows what a run has spent and done so far; what a call does is given to it as a function. Methods do not see it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from bench.errors import BudgetSpent, SurgeryError
from bench.journal.protocol import Call, Forgetful, Journal, Resumable
from bench.records.record import Point
from bench.seeding import isolated
from bench.specs.budget import FORWARD, TRAINING, Amount, Ledger, Phase
from bench.surgery.remove import SlicePlan
from bench.training.clock import Clock
from bench.training.optimiser import Optimiser
from bench.training.trainer import Allowance
from bench.trial.guard import Guard

__all__ = ["Calls", "Report"]

Report = Callable[[str, float], None]
Value = TypeVar("Value")
_PHASES: dict[str, Phase] = {
    "finetune": "finetune", "evaluate": "search", "probe": "search", "gradients": "search",
}  # fmt: skip


def _quiet(_phase: str, _share: float) -> None:
    pass


class Calls:
    """The calls of one run, in order, and the state that they share.

    Args:
        network: the run's.
        ledger: what may be spent, and was.
        rng: the method's own generator.
        seed: of the run.
        journal: keeps and replays calls.
        report: told the phase and how far it is.

    Attributes:
        guard, clock: of the network and of the device.
        state: what the journal keeps of the run; set by the trial.
        optimiser: whose state goes on from one training call to the next.
        curve: points so far.
        trained, epochs_done: training calls and passes over the training split so far.
        masks_on: open contexts of `surgery.masked`.
        removals: their plans, in order.
    """

    state: Resumable

    def __init__(
        self,
        network: nn.Module,
        ledger: Ledger,
        rng: torch.Generator,
        seed: int,
        journal: Journal | None = None,
        report: Report = _quiet,
    ) -> None:
        self.network, self.ledger, self.rng, self.seed = network, ledger, rng, seed
        self.journal: Journal = journal or Forgetful()
        self.report = report
        self.guard = Guard(network)
        self.clock = Clock(next(network.parameters()).device)
        self.optimiser = Optimiser()
        self.curve: list[Point] = []
        self.trained = 0
        self.epochs_done = 0.0
        self.masks_on = 0
        self.removals: list[SlicePlan] = []
        self._index = 0
        self._busy = False

    def begin(self) -> None:
        """Starts the clock and the guard."""
        self.clock.lap()
        self.guard.arm()

    def settle(self) -> None:
        """Charges the time since the last call to the method, and ends the guard's watch."""
        self.charge("prune")
        self.guard.disarm()

    def call(self, name: str, arguments: str, work: Callable[[], Value]) -> Value:
        """Carries out one call of the trial, or replays it.

        Args:
            name: `train`, `evaluate`, ...
            arguments: in words, for the journal.
            work: does it.

        Raises:
            RuntimeError: another call is under way.
            GuardViolation: the network was changed since the last call.
        """
        if self._busy:
            raise RuntimeError(f"trial.{name} was called from inside another call of the trial, or while it practises")
        self.charge("prune")
        call = Call(self._index, name, arguments)
        self._index += 1
        self._busy = True
        try:
            with self.guard.opened(), isolated(self.seed, "call", call.index):
                return self.journal.call(call, self.state, work)
        finally:
            self._busy = False
            self.charge(_PHASES.get(name, "prune"))

    @contextmanager
    def harness(self) -> Iterator[None]:
        """The harness's own work on the network: off the clock, and not a violation."""
        with self.guard.opened(), self.clock.stopped():
            yield

    @contextmanager
    def lent_to(self, inner: "Calls") -> Iterator[None]:
        """While `inner` calls in this one's place: the numbers go on, and violations and costs come to this one."""
        self.charge("prune")
        inner._index, self._busy = self._index, True
        inner.guard.violations = self.guard.violations
        try:
            inner.begin()
            yield
        finally:
            try:
                inner.settle()
            finally:
                self._index, self._busy = inner._index, False
                for phase, amount in inner.ledger.phases.items():
                    self.ledger.charge(phase, amount)
                self.clock.lap()

    def outside_masks(self, what: str, instead: str) -> None:
        """Refuses what cannot be done while channels are masked.

        Raises:
            SurgeryError: they are.
        """
        if self.masks_on:
            raise SurgeryError(f"{what} inside surgery.masked() would {instead}: leave it first.")

    def charge(self, phase: Phase, images: int = 0, passes: int = 0, steps: int = 0, macs: int = 0) -> None:
        """Books images and the time since the last charge.

        Args:
            phase: that it is booked on.
            images: how many.
            passes: what each costs in forward passes (`FORWARD`, or a multiple of `TRAINING`).
            steps: optimiser steps.
            macs: of one image forward.
        """
        amount = Amount(
            steps=steps,
            images_forward=images if passes == FORWARD else 0,
            images_trained=images * passes // TRAINING if passes >= TRAINING else 0,
            macs=images * passes * macs,
            device_seconds=self.clock.lap(wait=not steps),
        )
        self.ledger.charge(phase, amount)

    def afford(self, macs: int) -> None:
        """Refuses a call that the search's share does not pay for.

        Raises:
            BudgetSpent: it costs more than is left.
        """
        ledger, unit = self.ledger, self.ledger.budget.unit
        cost = ledger.price(macs)
        if cost > ledger.search_left or ledger.search_left <= 0:
            raise BudgetSpent(
                f"the search's share of the budget is spent: this call costs {cost:.4g} {unit}, and "
                f"{ledger.search_left:.4g} are left. Ask trial.affordable before each evaluation, or evaluate fewer "
                "images."
            )

    def allowance(self, images: int | None, share: float | None, macs: int) -> Allowance:
        """Images (and seconds) of one training call: what was asked for, no more than what is left.

        Args:
            images: as many as were asked for; None for no limit.
            share: of the method's part of the budget, at most; None for no limit.
            macs: of one image forward.
        """
        ledger, budget = self.ledger, self.ledger.budget
        part = ledger.left if share is None else min(ledger.left, share * ledger.pruning)
        asked = 2**62 if images is None else images
        if budget.unit == "device_seconds":
            return Allowance(asked, part)
        affordable = int(part * budget.dense_epoch_macs * (1 + 1e-12)) // (TRAINING * macs)
        return Allowance(min(asked, affordable))

    def mark(self, phase: Phase, values: Mapping[str, float | None], epochs: float = 0.0) -> None:
        """Puts a point on the curve, beside what has been spent so far.

        Args:
            phase: of the ledger.
            values: scalars by name.
            epochs: of the training call that is under way.
        """
        epoch = self.epochs_done + epochs
        self.curve.append(Point(phase=phase, epoch=epoch, spent=self.ledger.spent, values=dict(values)))
