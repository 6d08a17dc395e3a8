"""How compute is budgeted and charged.

A `Budget` is one number for every row of a track. A `Ledger` is what a run has spent of it, by phase. Charged
are the multiply-accumulates really executed, from the measured architecture: 1 x MACs an image forward, 3 x MACs
an image trained (one forward, two of the same size backward). A masked network costs what it costs unmasked, a
removed one less. Measuring (final accuracy, latency, the proof of a removal) is the harness's work and free.

Units: `dense_epochs`, 1 being the MACs of one forward-and-backward pass of the dense network over the training
split (the same on any machine), and `device_seconds`, the time the device is held by the method, its own
Python included.
"""

import math
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, get_args

from bench.errors import UsageError

__all__ = ["FORWARD", "TRAINING", "Amount", "Budget", "BudgetOverride", "Ledger", "Phase", "Unit"]

Unit = Literal["dense_epochs", "device_seconds"]
Phase = Literal["dense", "prune", "search", "finetune"]
FORWARD = 1
TRAINING = 3
_PHASES: tuple[Phase, ...] = ("dense", "prune", "search", "finetune")


@dataclass(frozen=True)
class Budget:
    """What a run may spend in all, the dense network's training included.

    Attributes:
        amount: how much, in `unit`.
        unit: `dense_epochs` or `device_seconds`.
        dense_epoch_macs: MACs of one dense epoch (3 x MACs of the dense network x training images).
    """

    amount: float
    unit: Unit
    dense_epoch_macs: int

    def spent(self, amount: "Amount") -> float:
        """`amount` in this budget's unit."""
        if self.unit == "device_seconds":
            return amount.device_seconds
        return amount.macs / self.dense_epoch_macs


@dataclass(frozen=True)
class BudgetOverride:
    """A budget that a user asks for instead of the track's own: `30ep`, `600s`, or one of the track's units."""

    amount: float | None
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> "BudgetOverride":
        """Reads `30ep` (dense epochs), `600s` (device seconds), `dense_epochs` or `device_seconds`.

        Raises:
            UsageError: the text is none of these, or the amount is not positive.
        """
        for unit in get_args(Unit):
            if text == unit:
                return cls(None, unit)
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(ep|s)", text.strip())
        if match is None or not 0 < float(match[1]) < math.inf:
            raise UsageError(
                f"budget {text!r}: use a positive number of dense epochs (30ep) or device seconds (600s), or "
                "dense_epochs or device_seconds for the track's own number in that unit."
            )
        return cls(float(match[1]), "dense_epochs" if match[2] == "ep" else "device_seconds")


@dataclass
class Amount:
    """Compute that was spent.

    Attributes:
        steps: optimiser steps.
        images_forward: images evaluated or probed.
        images_trained: images that went forward and backward.
        macs: multiply-accumulates of both.
        device_seconds: time the device was held.
    """

    steps: int = 0
    images_forward: int = 0
    images_trained: int = 0
    macs: int = 0
    device_seconds: float = 0.0

    def add(self, other: "Amount") -> None:
        """Adds `other` to this amount, in place."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass
class Ledger:
    """What a run has spent, by phase.

    `dense` is the dense network's training (nothing for a method that starts untrained), `prune` what the method
    trained, `search` what it evaluated and probed, `finetune` the harness's last phase.

    Attributes:
        budget: what may be spent in all.
        search_share: the largest share of the method's own part that evaluations and probes may take.
        phases: spent amounts by phase.
    """

    budget: Budget
    search_share: float
    phases: dict[Phase, Amount] = field(default_factory=lambda: {name: Amount() for name in _PHASES})

    def price(self, macs: int) -> float:
        """What `macs` will cost, in the budget's unit; 0 where time binds, since that is not known before."""
        return macs / self.budget.dense_epoch_macs if self.budget.unit == "dense_epochs" else 0.0

    def charge(self, phase: Phase, amount: Amount) -> None:
        """Books `amount` on `phase`."""
        self.phases[phase].add(amount)

    @property
    def total(self) -> Amount:
        """The sum over the phases."""
        total = Amount()
        for amount in self.phases.values():
            total.add(amount)
        return total

    @property
    def spent(self) -> float:
        """What has been spent, in the budget's unit."""
        return self.budget.spent(self.total)

    @property
    def left(self) -> float:
        """What is left, in the budget's unit; never negative."""
        return max(0.0, self.budget.amount - self.spent)

    @property
    def pruning(self) -> float:
        """The method's own part: the budget without the dense network's training, in the budget's unit."""
        return max(0.0, self.budget.amount - self.budget.spent(self.phases["dense"]))

    @property
    def search_left(self) -> float:
        """What evaluations and probes may still cost, in the budget's unit; never negative."""
        allowed = self.search_share * self.pruning - self.budget.spent(self.phases["search"])
        return max(0.0, min(allowed, self.left))

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Phases and `total`, each with its counts: the `ledger` of a record."""
        entries: dict[str, dict[str, float]] = {name: asdict(amount) for name, amount in self.phases.items()}
        entries["total"] = asdict(self.total)
        return entries
