"""The errors that a user meets, each with what was wrong and the next action in its text.

`UsageError` ends the command with exit code 2 before any work starts; every other error ends one run, which
then has a record that says so, and leaves the other runs alone.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "BenchError",
    "BudgetSpent",
    "DataError",
    "GuardViolation",
    "NotPrunable",
    "StoreError",
    "SurgeryError",
    "UncountedOperator",
    "Unwritable",
    "UsageError",
    "unknown_name",
]


class BenchError(Exception):
    """Base of all errors that `bench` raises on purpose."""


class UsageError(BenchError):
    """What was asked for cannot be done as asked: a wrong name, value, file or folder. Exit code 2."""


class DataError(UsageError):
    """A data set's files are missing or damaged."""


class StoreError(UsageError):
    """The store cannot be read or written."""


class Unwritable(StoreError):
    """A file of the store cannot be written, though it could before: the disk is full, or the folder is gone."""


class NotPrunable(BenchError):
    """The network offers no channel group to prune, or cannot be brought to the target."""


class SurgeryError(BenchError):
    """A removal was refused or changed the network's outputs."""


class UncountedOperator(BenchError):
    """The network uses an operator that costs compute and that no handler counts."""


class BudgetSpent(BenchError):
    """A call would cost more than what is left of the budget, or of the search's share of it."""


class GuardViolation(BenchError):
    """Work was done on the network behind the trial's back."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known: it lists the near names first, then all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UsageError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
