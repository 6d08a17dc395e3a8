"""The interface through which a trial's calls can be journaled and replayed.

A trial hands every call that costs compute or changes the network to its journal, as a number, a name and a digest
of the arguments, together with the work itself. A journal may run the work and keep what came of it (the return
value, the state after, the ledger), or, where it holds that call already from a killed run, put the state back and
return the value without running anything. The method's code runs from the top either way and cannot tell the
difference: everything it learns comes through return values.

`Forgetful` keeps nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor

__all__ = ["Call", "Forgetful", "Journal", "Resumable", "State"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Call:
    """One call through the trial.

    Attributes:
        index: number of the call in this run, from 0.
        name: `train`, `evaluate`, `probe`, `remove`, ...
        arguments: what was asked for, in words that can be compared (`epochs=2.0 hooks=Splicing`).
    """

    index: int
    name: str
    arguments: str


@dataclass(frozen=True)
class State:
    """All that a call can change, as tensors by name and JSON values: what a replay puts back.

    Attributes:
        tensors: the network's, the optimiser's and the masks' tensors, and the observers' history.
        values: ledger, curve, hook states, generator states, counters.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class Resumable(Protocol):
    """What a journal needs of a trial: its state, to be kept and put back."""

    def capture(self) -> State:
        """The state as it is now."""

    def restore(self, state: State) -> None:
        """Puts a captured state back."""


class Journal(Protocol):
    """Keeps calls and replays them."""

    def call(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        """Runs `work`, or replays what it gave before."""


class Forgetful:
    """A journal that runs every call and keeps nothing."""

    def call(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        """Runs `work`."""
        return work()
