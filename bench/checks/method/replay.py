"""Runs that are watched call by call, and stopped where a check says, as if their process had been killed there.

    python -m bench.checks.method.replay QUESTION.json ANSWER.json

takes a stopped run up in a process of its own: nothing that a plugin keeps outside the trial is left there, and sets of
texts have another order.
"""

import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from bench.checks.method.case import Case, CheckFailed
from bench.journal.codec import encode
from bench.journal.interrupt import Stopped
from bench.journal.protocol import Call, Checkpoint, Journal, JournalRefused, Resumable, State
from bench.measure.network import tensors_sha256
from bench.records.record import Record, parse_record
from bench.specs.digest import digest
from bench.specs.run import RunSpec
from bench.specs.target import Target
from bench.trial.method import Method
from bench.trial.phases import calls_of
from bench.trial.trial import Trial

__all__ = ["Seen", "Stop", "Watched", "take_up_elsewhere", "watched"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Stop:
    """Where a run is stopped.

    Attributes:
        call: number of the call.
        step: after so many steps of that training call; None: after the call.
    """

    call: int
    step: int | None = None


@dataclass(frozen=True)
class Seen:
    """One call of a run, as far as two runs of the same spec must agree on it.

    Attributes:
        name, arguments: what was asked for.
        steps: optimiser steps that it took.
        value: hash of what it gave (or of the error that it ended with).
        network: hash of the network, masks and hooks after it.
        spent: hash of the ledger's counts after it.
        drawn: hash of the method's generator after it.
    """

    name: str
    arguments: str
    steps: int
    value: str
    network: str
    spent: str
    drawn: str


@dataclass(frozen=True)
class Watched:
    """A run that was watched.

    Attributes:
        record: None where the run was stopped.
        seen: its calls, replayed ones included.
    """

    record: Record | None
    seen: tuple[Seen, ...]


def watched(case: Case, spec: RunSpec, stop: Stop | None = None) -> Watched:
    """Runs `spec`, or takes up what was stopped of it, and stops it at `stop`.

    Raises:
        JournalRefused: the method does not replay.
    """
    seen: list[Seen] = []
    try:
        return Watched(case.execute(spec, _watching(case.method, stop, seen)), tuple(seen))
    except _Stopped:
        return Watched(None, tuple(seen))


def take_up_elsewhere(case: Case, target: Target) -> Watched:
    """Takes up what was stopped of a run, to its end, in a new process with another seed for hashes.

    Raises:
        JournalRefused: the method does not replay.
        CheckFailed: the process ended without an answer.
    """
    method = case.method
    asked, answered = case.folder / "question.json", case.folder / "answer.json"
    question = {
        "module": method.__module__,
        "file": inspect.getsourcefile(method),
        "class": method.__qualname__,
        "settings": case.settings,
        "folder": str(case.folder),
        "network": case.network,
        "target": str(target),
    }
    asked.write_text(json.dumps(question), encoding="utf-8")
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1",
    }
    command = [sys.executable, "-P", "-m", "bench.checks.method.replay", str(asked), str(answered)]
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if not answered.exists():
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise CheckFailed(f"a fresh process could not take the run up: {last}")
    answer = json.loads(answered.read_bytes())
    if answer["refused"] is not None:
        raise JournalRefused(answer["refused"])
    record = parse_record(answer["record"].encode(), "of a fresh process")
    return Watched(record, tuple(Seen(**each) for each in answer["seen"]))


def _watching(method: type[Method], stop: Stop | None, seen: list[Seen]) -> type[Method]:
    """`method` itself, but that its trial's journal is watched."""

    class Watching(method):  # type: ignore[misc, valid-type]
        name = method.name

        def prune(self, trial: Trial) -> None:
            calls = calls_of(trial)
            calls.journal = _Watch(calls.journal, stop, seen)
            super().prune(trial)

    Watching.__module__ = method.__module__
    return Watching


class _Stopped(Stopped):
    """The run is stopped here. No plugin has a reason to catch it."""


class _Watch:
    """A journal that notes every call and stops at one."""

    def __init__(self, journal: Journal, stop: Stop | None, seen: list[Seen]) -> None:
        self._journal, self._stop, self._seen = journal, stop, seen
        self._here: Stop | None = None
        self._stopped = False

    def call(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        """As the journal does it."""
        if self._stopped:
            raise _Stopped
        self._here = self._stop if self._stop is not None and self._stop.call == call.index else None
        before = _steps(trial.books())
        try:
            value = self._journal.call(call, trial, work)
        except JournalRefused:
            raise
        except _Stopped:
            self._stopped = True
            raise
        except Exception as error:
            self._note(call, trial, before, f"{type(error).__name__}: {error}")
            raise
        self._note(call, trial, before, encode(value))
        if self._here is not None:
            self._stopped = True
            raise _Stopped
        return value

    def checkpoint(self) -> Checkpoint | None:
        """The journal's; in the training call that is stopped, it is used at every step."""
        inner = self._journal.checkpoint()
        if inner is None or self._here is None or self._here.step is None:
            return inner
        return _EveryStep(inner, self._here.step)

    def _note(self, call: Call, trial: Resumable, before: int, value: Any) -> None:
        books, (network, _) = trial.books(), trial.trained()
        counts = {
            phase: {name: count for name, count in spent.items() if name != "device_seconds"}
            for phase, spent in books["ledger"].items()
        }
        self._seen.append(
            Seen(
                call.name,
                call.arguments,
                _steps(books) - before,
                hashlib.sha256(json.dumps(value).encode()).hexdigest(),
                tensors_sha256(network.tensors),
                digest(counts),
                digest(books["rng"]),
            )
        )


class _EveryStep:
    """A checkpoint that is due after every step, and where the run is stopped after some."""

    def __init__(self, inner: Checkpoint, steps: int) -> None:
        self._inner, self._left = inner, steps

    def __str__(self) -> str:
        return str(self._inner)

    def load(self) -> State | None:
        """What was kept last."""
        return self._inner.load()

    def due(self) -> bool:
        """Always."""
        return True

    def save(self, state: State) -> None:
        """Keeps a state, and stops after the last one."""
        self._inner.save(state)
        self._left -= 1
        if not self._left:
            raise _Stopped


def _steps(books: dict[str, Any]) -> int:
    return sum(spent["steps"] for spent in books["ledger"].values())


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    """Takes a run up and says what came of it."""
    module = _module(question["module"], question["file"])
    method = reduce(getattr, question["class"].split("."), module)
    case = Case(method, tuple(question["settings"]), Path(question["folder"]), question["network"])  # type: ignore[arg-type]
    spec = case.spec(case.track, Target.parse(question["target"]))
    try:
        told = watched(case, spec)
    except JournalRefused as error:
        return {"refused": str(error)}
    assert told.record is not None
    return {"refused": None, "record": told.record.to_json(), "seen": [asdict(each) for each in told.seen]}


def _module(name: str, file: str) -> ModuleType:
    """The module of a plugin by its import name, or from its file where no path leads to it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(_answer(json.loads(Path(sys.argv[1]).read_bytes()))), encoding="utf-8")
