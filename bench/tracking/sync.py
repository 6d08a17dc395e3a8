"""`bench sync`: uploads a store's records to W&B later, each once.

The W&B run has the record's id, so an upload that is made again resumes it. What was uploaded is noted beside the
record, with the record's hash: the same record is skipped next time, one that was made again is sent again.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import StoreError, UsageError
from bench.records.record import Record
from bench.records.store import Store, read_records, write_text
from bench.tracking.mode import Mode, project_name
from bench.tracking.tracker import Tracker
from bench.tracking.values import record_digest

__all__ = ["NOTE", "Synced", "sync_store"]

NOTE = "wandb.json"
"""Name of the note beside a record."""

FAILURES_IN_A_ROW = 3
"""After so many, W&B is not there, and the rest is left for the next time."""


@dataclass(frozen=True)
class Synced:
    """What became of a store's records, by run id.

    Attributes:
        uploaded, skipped: sent now; sent before.
        failed: with the reason.
        untried: left for the next time.
        unreadable: number of files that are no record.
    """

    uploaded: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]
    untried: tuple[str, ...]
    unreadable: int

    @property
    def complete(self) -> bool:
        """Whether all records are there now."""
        return not (self.failed or self.untried or self.unreadable)

    def words(self) -> str:
        """One line for people."""
        parts = [f"{len(self.uploaded)} uploaded", f"{len(self.skipped)} there already"]
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [f"{len(self.untried)} not tried"] if self.untried else []
        parts += [f"{self.unreadable} unreadable"] if self.unreadable else []
        again = " `bench sync` again takes up what is missing." if self.failed or self.untried else ""
        return f"{', '.join(parts)}.{again}"


def sync_store(
    root: Path,
    mode: Mode,
    project: str | None = None,
    entity: str | None = None,
    say: Callable[[str], None] = print,
) -> Synced:
    """Uploads what was not uploaded yet.

    Args:
        root: the store.
        mode: from `choose_mode`.
        project: the W&B project; None for WANDB_PROJECT, else `bench`.
        entity: whose project; None for the account's default.
        say: told a line a record that was uploaded or failed, and a line a file that is no record.

    Raises:
        UsageError: the mode is `off`, or another `bench sync` is at work on the store.
        StoreError: there is no store, or it cannot be written.
    """
    if mode == "off":
        raise UsageError("W&B is off. Unset WANDB_MODE, then `bench sync`.")
    if not root.is_dir():
        raise StoreError(f"no store at {str(root)!r}. Run something first, or give --store DIR.")
    store = Store(root)
    store.prepare()
    lock = FileLock(root / ".locks" / "sync.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"another `bench sync` is at work on {root}. Wait for it to end.") from None
    try:
        return _sync(
            store,
            Tracker(mode, root, project, entity=entity),
            f"{entity or ''}/{project_name(project, os.environ)} {mode}",
            say,
        )
    finally:
        lock.release()


def _sync(store: Store, tracker: Tracker, where: str, say: Callable[[str], None]) -> Synced:
    records, unreadable = read_records(store.root)
    for each in unreadable:
        say(f"unreadable: {each.reason}")
    uploaded: list[str] = []
    skipped: list[str] = []
    failed: dict[str, str] = {}
    untried: list[str] = []
    in_a_row = 0
    for record in records:
        run_id, note = record.run_id, store.folder(record.run_id) / NOTE
        if _noted(note) == (where, record_digest(record)):
            skipped.append(run_id)
        elif in_a_row == FAILURES_IN_A_ROW:
            untried.append(run_id)
        else:
            reason = _upload(store, tracker, record, note, where, say)
            in_a_row = in_a_row + 1 if reason else 0
            if reason:
                failed[run_id] = reason
                say(f"failed: {run_id}: {reason}")
            else:
                uploaded.append(run_id)
    return Synced(tuple(uploaded), tuple(skipped), failed, tuple(untried), len(unreadable))


def _upload(
    store: Store, tracker: Tracker, record: Record, note: Path, where: str, say: Callable[[str], None]
) -> str | None:
    """Uploads one record and notes it; the reason where that failed."""
    network = store.folder(record.run_id) / "network.safetensors"
    try:
        sent = tracker.send(record, network if network.is_file() else None)
    except Exception as error:  # whatever W&B does, the others are tried
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    write_text(note, json.dumps({"where": where, "record": record_digest(record), "url": sent.where}, indent=1) + "\n")
    say(f"uploaded: {record.run_id}: {sent.where}")
    return None


def _noted(path: Path) -> tuple[str, str] | None:
    """Where the record was sent, and its hash then; None where there is no such note."""
    try:
        note = json.loads(path.read_bytes())
        return str(note["where"]), str(note["record"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
