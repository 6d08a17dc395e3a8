"""Does a run that is stopped and taken up again come to the same network, and if not, at which call did it part?"""

from collections.abc import Callable, Sequence
from itertools import zip_longest

from bench.checks.method.case import Case, CheckFailed
from bench.checks.method.replay import Seen, Stop, Watched, take_up_elsewhere, watched
from bench.journal.protocol import JournalRefused
from bench.records.record import Record

__all__ = ["resume"]

_ADVICE = (
    "Draw from trial.rng and nothing else, keep nothing on the class or the module, do not depend on the order of a "
    "set, and put what a hook or a loss remembers into the hook's state_dict."
)
_PARTS = {
    "value": "gave another value",
    "network": "left another network, masks or hooks",
    "spent": "spent something else",
    "drawn": "drew other numbers",
}


def resume(case: Case) -> str:
    """Stopped after calls and in the middle of training, then taken up: the same network, ledger and curve.

    Every take-up but the last is in this process, where the class and its module are as the stopped run left them; the
    last is in a new process, where they are fresh.
    """
    track, target = case.track, case.target(0.5)
    spec = case.spec(track, target)
    undisturbed = watched(case, spec)
    assert undisturbed.record is not None
    case.ended_well(undisturbed.record)
    stops = _stops(undisturbed.seen)
    for stop in stops:
        told = _taken_up(lambda stop=stop: watched(case, spec, stop), "in the same process")  # type: ignore[misc]
        _compare(undisturbed.seen, told.seen)
        if told.record is not None:
            case.ended_well(told.record)
            raise CheckFailed(
                f"call {stop.call}, {_words(undisturbed.seen[stop.call])}, was stopped, and the run went on. Catch "
                "bench.BudgetSpent or another error by its name, not everything."
            )
    told = _taken_up(lambda: take_up_elsewhere(case, target), "in a fresh process")
    _compare(undisturbed.seen, told.seen, whole=True)
    assert told.record is not None
    case.ended_well(told.record)
    _compare_ends(undisturbed.record, told.record)
    return f"{len(undisturbed.seen)} calls, stopped at {len(stops)} places, to the same network"


def _stops(seen: Sequence[Seen]) -> list[Stop]:
    """After the first and the middle call, and in the middle of an early and of the last training."""
    if not seen:
        return []
    trains = [number for number, each in enumerate(seen) if each.steps > 1]
    chosen = {trains[(len(trains) - 1) // 2], trains[-1]} if trains else set()
    stops = {Stop(0), Stop(len(seen) // 2), *(Stop(number, seen[number].steps // 2) for number in chosen)}
    return sorted(stops, key=lambda stop: (stop.call, stop.step is None))


def _taken_up(run: Callable[[], Watched], where: str) -> Watched:
    try:
        return run()
    except JournalRefused as error:
        said, _, _ = str(error).partition(" To start it afresh")
        advice = f" {_ADVICE}" if "does not replay" in said else ""
        raise CheckFailed(f"taken up again {where}, {said}{advice}") from None


def _compare(before: Sequence[Seen], now: Sequence[Seen], whole: bool = False) -> None:
    """Goes through the calls that both made.

    Raises:
        CheckFailed: two differ; the text names the first one.
    """
    for number, (old, new) in enumerate(zip_longest(before, now)):
        if new is None and not whole:
            return
        if old is None or new is None:
            raise CheckFailed(
                f"undisturbed, the run makes {len(before)} calls; stopped and taken up again, {len(now)}. {_ADVICE}"
            )
        if (old.name, old.arguments) != (new.name, new.arguments):
            raise CheckFailed(
                f"the method does not replay: call {number} was {_words(old)} the first time, and is {_words(new)} "
                f"when the run is made again. {_ADVICE}"
            )
        for part, words in _PARTS.items():
            if getattr(old, part) != getattr(new, part):
                raise CheckFailed(
                    f"call {number}, {_words(old)}, {words} after the run was stopped and taken up again. {_ADVICE}"
                )


def _compare_ends(before: Record, now: Record) -> None:
    assert before.pruned is not None
    assert now.pruned is not None
    if before.pruned.weights_sha256 != now.pruned.weights_sha256:
        raise CheckFailed(f"after its last call, a run that was taken up again has another network. {_ADVICE}")
    if [point.values for point in before.curve] != [point.values for point in now.curve]:
        raise CheckFailed(f"a run that was taken up again has another curve: look at trial.log. {_ADVICE}")


def _words(call: Seen) -> str:
    arguments = call.arguments if len(call.arguments) <= 200 else f"{call.arguments[:200]}..."
    return f"{call.name}({arguments})"
