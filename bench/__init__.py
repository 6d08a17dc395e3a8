"""A reproducible benchmark suite for neural-network pruning.

What a plugin needs is here and nowhere else: `from bench import Method, Trial`. Importing `bench` is light; a name's
module is loaded when the name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data.base import Dataset, Images
    from bench.errors import BenchError, BudgetSpent, DataError, NotPrunable, SurgeryError, UsageError
    from bench.measure.accuracy import Accuracy
    from bench.networks.base import Network, NetworkSpec
    from bench.own.export.load import load
    from bench.own.notebook.run import compare, groups, prune
    from bench.records.record import Record
    from bench.specs.budget import Budget, Ledger
    from bench.specs.run import RunSpec
    from bench.specs.target import Target
    from bench.specs.track import Recipe, Track
    from bench.surgery import ChannelGroup, Keep
    from bench.training.hooks import Epoch, History, Hook, Observer, Step
    from bench.trial.method import Config, Control, Method
    from bench.trial.trial import Trial

_HOMES = {
    "bench.specs.budget": ("Budget", "Ledger"),
    "bench.data.base": ("Dataset", "Images"),
    "bench.errors": ("BenchError", "BudgetSpent", "DataError", "NotPrunable", "SurgeryError", "UsageError"),
    "bench.measure.accuracy": ("Accuracy",),
    "bench.training.hooks": ("Epoch", "History", "Hook", "Observer", "Step"),
    "bench.trial.method": ("Config", "Control", "Method"),
    "bench.networks.base": ("Network", "NetworkSpec"),
    "bench.records.record": ("Record",),
    "bench.specs.run": ("RunSpec",),
    "bench.surgery": ("ChannelGroup", "Keep"),
    "bench.specs.target": ("Target",),
    "bench.specs.track": ("Recipe", "Track"),
    "bench.trial.trial": ("Trial",),
}
_HOMES |= {
    "bench.own.export.load": ("load",),
    "bench.own.notebook.run": ("compare", "groups", "prune", "records"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Accuracy",
    "BenchError",
    "Budget",
    "BudgetSpent",
    "ChannelGroup",
    "Config",
    "Control",
    "DataError",
    "Dataset",
    "Epoch",
    "History",
    "Hook",
    "Images",
    "Keep",
    "Ledger",
    "Method",
    "Network",
    "NetworkSpec",
    "NotPrunable",
    "Observer",
    "Recipe",
    "Record",
    "RunSpec",
    "Step",
    "SurgeryError",
    "Target",
    "Track",
    "Trial",
    "UsageError",
    "compare",
    "groups",
    "load",
    "prune",
    "records",
]


def __getattr__(name: str) -> Any:
    if name == "records":  # a package that is called like a function: see there
        return import_module("bench.records")
    if name not in _HOME:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
