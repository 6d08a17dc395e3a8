"""The interface through which a trial's calls can be journaled and replayed.

A trial hands every call that costs compute or changes the network to its journal, as a number, a name and a digest
of the arguments, together with the work itself. A journal may run the work and keep what came of it (the return
value, the state after, the ledger), or, where it holds that call already from a killed run, put the state back and
return the value without running anything. The method's code runs from the top either way and cannot tell the
difference: everything it learns comes through return values.

`Forgetful` keeps nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from bench.errors import BenchError

__all__ = ["CHEAP", "Call", "Checkpoint", "Forgetful", "Journal", "JournalRefused", "Resumable", "State"]

Value = TypeVar("Value")
CHEAP = ("remove", "reinitialise", "rewind")
"""Calls that a replay carries out again instead of loading what they left: they cost no training."""


class JournalRefused(BenchError):
    """What a killed process left does not fit the code that would go on with it, or is damaged."""


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
    """Something that can be written down and put back: tensors by name, and JSON values."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


class Checkpoint(Protocol):
    """Keeps a training call that is under way; as a text, it is where that is kept."""

    def load(self) -> State | None:
        """What was kept last; None where there is nothing."""

    def due(self) -> bool:
        """Whether it is time to keep the state again."""

    def save(self, state: State) -> None:
        """Keeps a state in place of the last one."""


class Resumable(Protocol):
    """What a journal needs of a trial."""

    def books(self) -> dict[str, Any]:
        """Ledger, counters, `points` on the curve, and `rng`, the method's generator: JSON values, small."""

    def restore_books(self, books: Mapping[str, Any], points: list[dict[str, Any]]) -> None:
        """Puts `books` back, and adds the points that a replayed call put on the curve."""

    def points_since(self, count: int) -> list[dict[str, Any]]:
        """Points of the curve after the first `count`."""

    def trained(self) -> tuple[State, State]:
        """What training leaves: the network with masks and hooks, and what the next training needs (optimiser)."""

    def restore_trained(self, network: State, going_on: State | None) -> None:
        """Puts back what training left."""


class Journal(Protocol):
    """Keeps calls and replays them."""

    def call(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        """Runs `work`, or replays what it gave before."""

    def checkpoint(self) -> Checkpoint | None:
        """Where the training call that is under way is kept; None where it is not."""


class Forgetful:
    """A journal that runs every call and keeps nothing."""

    def call(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        """Runs `work`."""
        return work()

    def checkpoint(self) -> None:
        """Nothing."""
        return
