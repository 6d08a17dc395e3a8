"""A journal in a run's folder.

    journal/head.json                 what the journal was begun with: code, libraries, settings
    journal/calls.jsonl               one line a finished call: name, arguments, value, books, a checksum
    journal/network-00003.safetensors what call 3 trained
    journal/going-on-00003.safetensors optimiser after it, kept for the last training call only
    journal/checkpoint.safetensors    the training call that is under way

A line counts only when it is whole; files get their names when they are whole. So a process may be killed between any
two instructions, and the next one finds a prefix of the calls and goes on behind it.
"""

import json
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench import stopping
from bench.errors import BenchError, StoreError
from bench.journal.checkpoint import FileCheckpoint
from bench.journal.codec import decode, encode, read_state, write_state
from bench.journal.contract import CHEAP, Call, Resumable
from bench.store import write_text

__all__ = ["FileJournal", "JournalRefused"]

Value = TypeVar("Value")
_TRAINS = ("train", "finetune")


class JournalRefused(BenchError):
    """A journal does not fit the code that would go on with it."""


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
        self.replayed = 0
        if (folder / "head.json").exists():
            self._check_head(dict(head))
            self._entries = self._read_entries()
        else:
            shutil.rmtree(folder, ignore_errors=True)
            write_text(folder / "head.json", json.dumps(head, indent=1, sort_keys=True))

    @property
    def replaying(self) -> bool:
        """Whether the call that is under way was finished before."""
        return self._current is not None and self._current.index < len(self._entries)

    def call(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        """Runs `work` and keeps what came of it; or returns what it gave before.

        Raises:
            JournalRefused: the method asks for something else than it did before, or a file is damaged.
            KeyboardInterrupt: somebody asked to stop; the call is kept.
        """
        self._current = call
        if call.index < len(self._entries):
            return self._replay(call, trial, work)
        points = trial.books()["points"]
        value = work()
        try:
            encoded = encode(value)
        except TypeError as error:
            raise JournalRefused(f"call {call.index}, {call.name}: its value cannot be kept: {error}.") from None
        if call.name in _TRAINS:
            network, going_on = trial.trained()
            write_state(self._path("network", call.index), network)
            write_state(self._path("going-on", call.index), going_on)
        self._append(
            {
                "index": call.index,
                "name": call.name,
                "arguments": call.arguments,
                "value": encoded,
                "books": trial.books(),
                "points": trial.points_since(points),
            }
        )
        if stopping.requested():
            raise KeyboardInterrupt
        return value

    def checkpoint(self) -> FileCheckpoint | None:
        """The checkpoint of the training call that is under way."""
        if self._current is None or self.replaying:
            return None
        call = self._current
        return FileCheckpoint(self._folder / "checkpoint.safetensors", f"{call.index} {call.name} {call.arguments}")

    def delete(self) -> None:
        """The run is done: nothing of the journal is needed any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- inside -------------------------------------------------------------------------------------------------

    def _replay(self, call: Call, trial: Resumable, work: Callable[[], Value]) -> Value:
        entry = self._entries[call.index]
        before, now = (entry["name"], entry["arguments"]), (call.name, call.arguments)
        if before != now:
            raise JournalRefused(
                f"the method does not replay: call {call.index} was {before[0]}({before[1]}) before and is "
                f"{now[0]}({now[1]}) now. It depends on something that the trial does not give (its own randomness, "
                f"a clock, state kept between runs). {self._afresh()}"
            )
        try:
            value: Value = decode(entry["value"])
            if call.name in CHEAP:
                work()
            elif call.name in _TRAINS:
                last = not any(each["name"] in _TRAINS for each in self._entries[call.index + 1 :])
                going_on = read_state(self._path("going-on", call.index)) if last else None
                trial.restore_trained(read_state(self._path("network", call.index)), going_on)
            trial.restore_books(entry["books"], entry["points"])
        except (StoreError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise JournalRefused(f"the journal is damaged at call {call.index}: {error} {self._afresh()}") from None
        self.replayed += 1
        return value

    def _path(self, what: str, index: int) -> Path:
        return self._folder / f"{what}-{index:05d}.safetensors"

    def _append(self, entry: dict[str, Any]) -> None:
        text = json.dumps(entry, separators=(",", ":"))
        line = f"{zlib.crc32(text.encode()):08x} {text}\n"
        try:
            with self._calls.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise StoreError(f"cannot write {self._calls}: {error.strerror}. Free some space.") from None
        if entry["name"] in _TRAINS:
            (self._folder / "checkpoint.safetensors").unlink(missing_ok=True)
            for path in self._folder.glob("going-on-*.safetensors"):
                if path != self._path("going-on", entry["index"]):
                    path.unlink(missing_ok=True)

    def _read_entries(self) -> list[dict[str, Any]]:
        """The whole lines; what a kill left half-written at the end is cut off."""
        if not self._calls.exists():
            return []
        entries: list[dict[str, Any]] = []
        whole = 0
        content = self._calls.read_bytes()
        for line in content.splitlines(keepends=True):
            entry = _entry(line, len(entries))
            if entry is None:
                break
            entries.append(entry)
            whole += len(line)
        rest = content[whole:]
        if rest.count(b"\n"):
            raise JournalRefused(f"the journal is damaged: {self._calls}, line {len(entries) + 1}. {self._afresh()}")
        if rest:
            with self._calls.open("r+b") as file:
                file.truncate(whole)
        return entries

    def _check_head(self, head: dict[str, Any]) -> None:
        try:
            before = json.loads((self._folder / "head.json").read_bytes())
        except (OSError, ValueError) as error:
            raise JournalRefused(f"the journal's head cannot be read: {error}. {self._afresh()}") from None
        now = json.loads(json.dumps(head))
        if not isinstance(before, dict):
            raise JournalRefused(f"the journal's head is not an object. {self._afresh()}")
        changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        if changed:
            said = "; ".join(f"{key}: {before.get(key)!r} then, {now.get(key)!r} now" for key in changed)[:1000]
            raise JournalRefused(f"an interrupted run cannot be taken up, since this changed: {said}. {self._afresh()}")

    def _afresh(self) -> str:
        return f"To start it afresh, delete {self._folder}."


def _entry(line: bytes, index: int) -> dict[str, Any] | None:
    """An entry, if the line is whole and is the one with this number."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    try:
        if not line.endswith(b"\n") or int(checksum, 16) != zlib.crc32(text):
            return None
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("index") != index:
        return None
    return entry
