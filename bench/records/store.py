"""The store: a folder of runs, each whole or not there at all.

    STORE/RUN_ID/record.json           the result, written last
    STORE/RUN_ID/network.safetensors   the pruned network: architecture and weights
    STORE/dense/KEY/                   dense networks that runs share
    STORE/wandb/                       offline W&B runs
    STORE/.locks/                      one lock a run, so that two commands do not do the same work at once

A file gets its name by an atomic rename after its content is on disk, so a process killed at any moment leaves
either the old file or the new one.
"""

import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from bench.errors import StoreError, Unwritable
from bench.records.index import RecordIndex, is_store, record_paths
from bench.records.reading import read_regular
from bench.records.record import Record, parse_record

__all__ = [
    "Store",
    "Unreadable",
    "each_record",
    "read_briefs",
    "read_paths",
    "read_records",
    "sweep",
    "sync_folder",
    "write_atomically",
    "write_text",
]


@dataclass(frozen=True)
class Unreadable:
    """A record that could not be read, and why."""

    path: Path
    reason: str


def write_atomically(path: Path, write: Callable[[Path], None], durable: bool = True) -> None:
    """Lets `write` fill a temporary file beside `path`, then renames it to `path`.

    Args:
        path: the file; its folder is made.
        write: writes the file whose path it is given.
        durable: wait until the content is on disk, so that it survives a power cut and not only a kill.

    Raises:
        Unwritable: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unwritable(f"cannot write {path}: {reason}. Free some space, or give another folder.") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on disk, where the system can say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Removes what killed processes left of their writes; for whoever alone writes into the folder."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


class Store:
    """Runs below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Makes the folder and checks that it can be written.

        Raises:
            StoreError: it cannot; the text says why and what to do.
        """
        made = not self.root.exists()
        try:
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            if made and self.root.is_dir() and not any(self.root.iterdir()):
                self.root.rmdir()
            raise StoreError(
                f"store {str(self.root)!r} cannot be written: {error.strerror or error}. Give a folder of your own "
                "with --store DIR."
            ) from None

    def folder(self, run_id: str) -> Path:
        """The folder of a run (it may not exist yet)."""
        return self.root / run_id

    def record_path(self, run_id: str) -> Path:
        """Where a run's record is, or will be."""
        return self.folder(run_id) / "record.json"

    def dense_folder(self, key: str) -> Path:
        """The folder of a dense network that runs share."""
        return self.root / "dense" / key

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Holds the lock called `name`; `waiting` is called once if another process has it."""
        self.prepare()
        lock = FileLock(self.root / ".locks" / f"{name}.lock")
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                waiting()
                lock.acquire()
        except OSError as error:
            raise StoreError(f"cannot lock {lock.lock_file}: {error.strerror or error}. Free some space.") from None
        try:
            yield
        finally:
            lock.release()

    def try_lock(self, name: str) -> FileLock | None:
        """Takes the lock called `name` until it is released or this process ends; None where another one has it."""
        self.prepare()
        lock = FileLock(self.root / ".locks" / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        except OSError as error:
            raise StoreError(f"cannot lock {lock.lock_file}: {error.strerror or error}. Free some space.") from None
        return lock

    def stamp(self, run_id: str) -> tuple[int, int] | None:
        """What changes whenever a run's record is written; None where there is none."""
        try:
            found = self.record_path(run_id).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def write(self, record: Record) -> Path:
        """Writes a record, atomically; an earlier one with the same id is replaced.

        Returns:
            The path of the record.
        """
        path = self.record_path(record.run_id)
        write_text(path, record.to_json())
        return path

    def read(self, run_id: str) -> Record | None:
        """The record of a run; None where there is none yet.

        Raises:
            StoreError: there is one, but it cannot be read.
        """
        path = self.record_path(run_id)
        try:
            content = read_regular(path)
        except FileNotFoundError:
            return None
        record = parse_record(content, str(path))
        if record.run_id != run_id:
            raise StoreError(f"record {path}: it says run_id {record.run_id!r}, but lies in the folder of {run_id!r}.")
        return record

    def records(self) -> tuple[list[Record], list[Unreadable]]:
        """All records, by run id, and what could not be read."""
        return read_records(self.root)


def read_records(root: Path) -> tuple[list[Record], list[Unreadable]]:
    """All records below `root`, and what could not be read."""
    records: dict[str, Record] = {}
    unreadable = []
    for each in each_record(root):
        if isinstance(each, Unreadable):
            unreadable.append(each)
        else:
            records[each.run_id] = each
    return list(records.values()), unreadable


def read_briefs(root: Path, tracks: Collection[str] = ()) -> tuple[list[Record], list[Unreadable]]:
    """The same, of all tracks or of some, without curves: from the index where `root` is a store.

    See `bench.records.index.Brief`.
    """
    index = RecordIndex(root, kept=is_store(root))
    found = {each.record.run_id: each.record for each in index.briefs(tracks)}
    return list(found.values()), [Unreadable(path, reason) for path, reason in index.unreadable()]


def each_record(root: Path) -> Iterator[Record | Unreadable]:
    """The records below `root` and what could not be read, one after the other: a store may not fit into memory."""
    for path in record_paths(root):
        try:
            record = parse_record(read_regular(path), str(path))
        except (StoreError, OSError) as error:
            yield Unreadable(path, str(error))
            continue
        if record.run_id != path.parent.name:
            reason = f"record {path}: it says run_id {record.run_id!r}, but lies in the folder of {path.parent.name!r}."
            yield Unreadable(path, reason)
            continue
        yield record


def read_paths(paths: Iterable[Path]) -> list[Record]:
    """The records at these paths that can still be read."""
    found = []
    for path in paths:
        with suppress(StoreError, OSError):
            found.append(parse_record(read_regular(path), str(path)))
    return found


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
    """

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)
