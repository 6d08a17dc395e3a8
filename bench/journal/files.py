"""A journal in a run's folder.

    journal/head.json                 what the journal was begun with: code, libraries, settings
    journal/calls.jsonl               one line a finished call: name, arguments, value, books, a checksum
    journal/network-00003.safetensors what call 3 trained
    journal/going-on-00003.safetensors optimiser after it, kept for the last training call only
    journal/value-00003.safetensors   what call 3 gave, where that is as large as the network (gradients)
    journal/checkpoint.safetensors    the training call that is under way

A line counts only when it is whole; files get their names when they are whole. So a process may be killed between any
two instructions, and the next one finds a prefix of the calls and goes on behind it.
"""

import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from bench.errors import BenchError, BudgetSpent, NotPrunable, StoreError, SurgeryError, UncountedOperator, Unwritable
from bench.journal import interrupt as stopping
from bench.journal.checkpoint import FileCheckpoint
from bench.journal.codec import decode, encode, read_state, write_state
from bench.journal.protocol import CHEAP, Call, JournalRefused, Resumable, State
from bench.measure.accuracy import Accuracy
from bench.records.store import write_text
from bench.training.hooks import History
from bench.training.trainer import Diverged

__all__ = ["FileJournal", "JournalRefused"]

Value = TypeVar("Value")
_TRAINS = ("train", "finetune")
_LARGE = ("gradients",)  # their values have files of their own
_VALUES = {"train": History, "finetune": History, "evaluate": Accuracy, "probe": dict, "gradients": dict}
_RAISED = (BudgetSpent, NotPrunable, SurgeryError, UncountedOperator, Diverged)
"""Errors that a method may expect and go on after: a replay raises them again."""
_DAMAGE = (
    StoreError, SurgeryError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError,
)  # fmt: skip


class FileJournal:
    """Keeps the calls of one run, and replays those that are there already.

    Args:
        folder: `STORE/RUN_ID/journal`.
        head: what the journal depends on, as JSON values by name.

    Raises:
        JournalRefused: the folder holds a journal that was begun with something else, or is damaged.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self._folder = folder
        self._calls = folder / "calls.jsonl"
        self._current: Call | None = None
        self._entries: list[dict[str, Any]] = []
        self._process = os.getpid()
        self.replayed = 0
        self._position = 0
        self._broken: BaseException | None = None
        if (folder / "head.json").exists() and self._check_head(dict(head)):
            self._entries = self._read_entries()
        else:
            shutil.rmtree(folder, ignore_errors=True)
            write_text(folder / "head.json", json.dumps(head, indent=1, sort_keys=True))

    def call(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        """Runs `work` and keeps what came of it; or returns what it gave before.

        Either way the value comes back as it was written down (tensors on the CPU, lists for tuples), so that the
        method sees the same in both.

        Raises:
            JournalRefused: the method asks for something else than it did before, or a file is damaged.
            BenchError: what came of it cannot be kept, or that of an earlier call could not.
            KeyboardInterrupt: somebody asked to stop; the call is kept.
        """
        if os.getpid() != self._process:
            os._exit(1)  # a child that a plugin forked and let go on: the run is its parent's
        if self._broken is not None:
            raise self._after(self._broken, call)
        self._current = None
        try:
            if self._position < len(self._entries):
                value: Value = self._replay(call, trial, work)
            else:
                self._current = call
                value = self._carry_out(call, trial, work)
        except _RAISED as error:
            if type(error) not in _RAISED:
                self._broken = error
            raise
        except BaseException as error:
            self._broken = error
            raise
        if self._current is not None and stopping.requested():
            raise KeyboardInterrupt
        return value

    def cannot_go_on(self, error: BaseException) -> bool:
        """Whether the error is the store's and came through a call, and not from the method's own lines."""
        return isinstance(error, Unwritable) or (isinstance(error, StoreError) and error is self._broken)

    def checkpoint(self) -> FileCheckpoint | None:
        """The checkpoint of the training call that is under way."""
        call = self._current
        if call is None:
            return None
        return FileCheckpoint(self._folder / "checkpoint.safetensors", f"{call.index} {call.name} {call.arguments}")

    # -- inside -------------------------------------------------------------------------------------------------

    def _carry_out(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        before = trial.books()
        raised: BenchError | None = None
        value: Value | None = None
        try:
            value = work()
        except _RAISED as error:
            if type(error) not in _RAISED:
                raise
            raised = error
        try:
            large = call.name in _LARGE and raised is None
            encoded = None if large else encode(value)
            kept: Value = decode(json.loads(json.dumps(encoded)))
            if isinstance(value, Mapping) and large:
                kept = dict(sorted(value.items()))  # type: ignore[assignment]  # in the order of a replay
        except (TypeError, ValueError, RecursionError) as error:
            raise BenchError(f"call {call.index}, {call.name}: its value cannot be kept: {error}.") from None
        if isinstance(value, Mapping) and call.name in _LARGE:
            write_state(self._path("value", call.index), State(value))
        if call.name in _TRAINS:
            network, going_on = trial.trained()
            write_state(self._path("network", call.index), network)
            write_state(self._path("going-on", call.index), going_on)
        books = trial.books()
        if books["rng"] == before["rng"]:
            del books["rng"]
        entry = {
            "index": call.index,
            "name": call.name,
            "arguments": call.arguments,
            "value": encoded,
            "books": books,
            "points": trial.points_since(before["points"]),
        }
        if raised is not None:
            entry["raised"] = [type(raised).__name__, str(raised)]
        self._append(entry)
        if raised is not None:
            raise raised
        return kept

    def _replay(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        entry = self._entries[self._position]
        before, now = (entry["index"], entry["name"], entry["arguments"]), (call.index, call.name, call.arguments)
        if before != now:
            raise JournalRefused(
                f"the method does not replay: call {call.index} was {_words(*before[1:])} before and is "
                f"{_words(*now[1:])} now. It depends on something that the trial does not give (its own randomness, "
                f"a clock, state kept between runs). {self._afresh()}"
            )
        try:
            value: Value = decode(entry["value"])
            raised = _error(entry.get("raised"))
            if call.name in _LARGE and raised is None:
                value = dict(sorted(read_state(self._path("value", call.index)).tensors.items()))  # type: ignore[assignment]
            if raised is None and not _fits(call.name, value):
                raise ValueError(f"its value is a {type(value).__name__}.")
            if call.name in CHEAP and raised is None:
                work()
            elif call.name in _TRAINS:
                later = self._entries[self._position + 1 :]
                last = not any(each["name"] in _TRAINS for each in later)
                going_on = read_state(self._path("going-on", call.index)) if last else None
                trial.restore_trained(read_state(self._path("network", call.index)), going_on)
            trial.restore_books(entry["books"], entry["points"])
        except _DAMAGE as error:
            raise JournalRefused(f"the journal is damaged at call {call.index}: {error} {self._afresh()}") from None
        self._position += 1
        self.replayed += 1
        if raised is not None:
            raise raised
        return value

    def _after(self, error: BaseException, call: Call) -> BaseException:
        """What a method is told that goes on after an error that no journal can give again."""
        if not isinstance(error, Exception):
            return error
        return BenchError(
            f"the call before {call.name} ended with {type(error).__name__}: {error}. A method can go on after "
            f"{', '.join(each.__name__ for each in _RAISED)} only: other errors are not journaled."
        )

    def _path(self, what: str, index: int) -> Path:
        return self._folder / f"{what}-{index:05d}.safetensors"

    def _append(self, entry: dict[str, Any]) -> None:
        text = json.dumps(entry, separators=(",", ":"))
        line = f"{zlib.crc32(text.encode()):08x} {text}\n"
        try:
            with self._calls.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unwritable(f"cannot write {self._calls}: {error.strerror}. Free some space.") from None
        if entry["name"] in _TRAINS:
            (self._folder / "checkpoint.safetensors").unlink(missing_ok=True)
            for path in sorted(self._folder.glob("going-on-*.safetensors"))[:-2]:  # the last may be torn by a power cut
                path.unlink(missing_ok=True)

    def _read_entries(self) -> list[dict[str, Any]]:
        """The calls that are whole, with all that they left; what comes after the first that is not is cut off."""
        if not self._calls.exists():
            return []
        entries: list[dict[str, Any]] = []
        sizes: list[int] = []
        try:
            content = self._calls.read_bytes()
        except OSError as error:
            raise JournalRefused(f"{self._calls} cannot be read: {error.strerror}. {self._afresh()}") from None
        for line in content.splitlines(keepends=True):
            entry = _entry(line, entries[-1]["index"] if entries else -1)
            if entry is None:
                break
            entries.append(entry)
            sizes.append(len(line))
        whole = self._whole(entries)
        if whole < len(entries) or sum(sizes) < len(content) - _torn(content[sum(sizes) :]):
            where = f"after call {entries[whole - 1]['index']}" if whole else "from its beginning"
            print(f"note: the journal is damaged, and the run goes on {where}.", file=sys.stderr, flush=True)
        if sum(sizes[:whole]) < len(content):
            with self._calls.open("r+b") as file:
                file.truncate(sum(sizes[:whole]))
        return entries[:whole]

    def _whole(self, entries: Sequence[dict[str, Any]]) -> int:
        """How many of the first entries can be replayed: their states are whole, and training can go on behind them."""
        trained = [number for number, entry in enumerate(entries) if entry["name"] in _TRAINS]
        usable = len(entries)
        for number in trained:
            if not self._readable("network", entries[number]["index"]):
                usable = number
                break
        while (last := [number for number in trained if number < usable]) and not self._readable(
            "going-on", entries[last[-1]]["index"]
        ):
            usable = last[-1]
        return usable

    def _readable(self, what: str, index: int) -> bool:
        try:
            read_state(self._path(what, index))
        except StoreError:
            return False
        return True

    def _check_head(self, head: dict[str, Any]) -> bool:
        """Whether the head is whole; it must then be the same."""
        try:
            before = json.loads((self._folder / "head.json").read_bytes())
            now = json.loads(json.dumps(head))
            if not isinstance(before, dict):
                raise ValueError("it is no object")
            changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
            said = "; ".join(f"{key}: {_short(before.get(key))} then, {_short(now.get(key))} now" for key in changed)
        except (ValueError, RecursionError) as error:  # torn: whatever follows it cannot be trusted
            print(f"note: the journal's head cannot be read ({error}), and the run begins again.", file=sys.stderr)
            return False
        except OSError as error:
            raise JournalRefused(f"the journal's head cannot be read: {error}. {self._afresh()}") from None
        if changed:
            raise JournalRefused(
                f"an interrupted run cannot be taken up, since this changed: {said[:1000]}. {self._afresh()}"
            )
        return True

    def _afresh(self) -> str:
        return f"To start it afresh, delete {self._folder}."


def _torn(rest: bytes) -> int:
    """Bytes of a line that was being written when its process was killed: what a kill leaves, and no damage."""
    return 0 if b"\n" in rest else len(rest)


def _entry(line: bytes, previous: int) -> dict[str, Any] | None:
    """An entry, if the line is whole and comes after the one with the number `previous`."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    try:
        if not line.endswith(b"\n") or int(checksum, 16) != zlib.crc32(text):
            return None
        entry = json.loads(text)
        index, name, arguments = entry["index"], entry["name"], entry["arguments"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = type(index) is int and index > previous and isinstance(name, str) and isinstance(arguments, str)
    return entry if whole else None


def _error(raised: Any) -> BenchError | None:
    """The error that a call ended with, from its class's name and its text."""
    if raised is None:
        return None
    name, text = raised
    return {each.__name__: each for each in _RAISED}[name](text)


def _fits(name: str, value: Any) -> bool:
    """Whether a call of this name can have given this value."""
    if name in ("probe", *_LARGE):
        return isinstance(value, dict) and all(isinstance(each, Tensor) for each in value.values())
    return isinstance(value, _VALUES.get(name, object))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _words(name: str, arguments: str) -> str:
    return f"{name}({arguments[:500]})"
