"""What the harness does with a trial before, after and around a method's work; none of it is a method's."""

from bench.trial.calls import Calls
from bench.trial.trial import Trial

__all__ = ["begin", "calls_of", "finetune", "settle"]


def calls_of(trial: Trial) -> Calls:
    """The calls of a trial so far: guard, journal, curve and optimiser."""
    return trial._calls


def begin(trial: Trial) -> None:
    """Starts the clock and the guard."""
    trial._calls.begin()


def settle(trial: Trial) -> None:
    """Charges the time since the last call to the method, and ends the guard's watch."""
    trial._calls.settle()


def finetune(trial: Trial) -> None:
    """The track's last phase: what is left of the budget, the same for all methods."""
    allowance = trial._calls.allowance(None, None, trial.surgery.macs)
    trial._trained("finetune", "", lambda: trial._training.run("finetune", allowance))
