"""What a store holds, without reading all of it: one row a record, and the record without its curve, in SQLite.

It is kept beside the records. The files are the truth: every use looks at each file's size, time and inode (ten
microseconds a record), reads those that are new or other than before, and forgets those that are gone; an index that is
damaged, of another version or not writable is made afresh, in memory if need be. It may be deleted at any time.
"""

import contextlib
import json
import os
import sqlite3
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.records.parts import in_parts
from bench.records.reading import read_regular
from bench.records.record import Record, parse_record, rewards_of

__all__ = ["Brief", "IndexedRun", "RecordIndex", "indexed", "is_store", "record_paths"]

_FILE = ".index/records.sqlite3"
_VERSION = 3
_SCHEMA = """
CREATE TABLE run (
    path TEXT PRIMARY KEY, stamp TEXT NOT NULL, reason TEXT, run_id TEXT, method TEXT, track TEXT, target TEXT,
    seed INTEGER, status TEXT, budget TEXT, seconds REAL, finished_at TEXT
) WITHOUT ROWID;
CREATE TABLE brief (path TEXT PRIMARY KEY, content BLOB NOT NULL, rewards BLOB NOT NULL, fields TEXT, common TEXT);
"""
_COLUMNS = "path, run_id, method, track, target, seed, status, budget, seconds, finished_at"
_RESERVED = {"dense", "page", "wandb"}

Visit = Callable[[Record, str], None]


@dataclass(frozen=True)
class IndexedRun:
    """What is known of a record without reading it.

    Attributes:
        path: of the record.
        run_id, method, track, target, seed, status: as in the record.
        budget: the track's budget, as JSON text with sorted keys.
        seconds: device time after dense training; None where the run has no pruned network.
        finished_at: by its manifest; empty where that does not say.
    """

    path: Path
    run_id: str
    method: str
    track: str
    target: str
    seed: int
    status: str
    budget: str
    seconds: float | None
    finished_at: str


@dataclass(frozen=True)
class Brief:
    """A record without its curve: all that tables, gates and verdicts look at.

    Attributes:
        record: the record; its curve is empty.
        rewards: what a search was rewarded with, episode by episode.
        path: of its file.
        stamp: changes with the file.
        read: whether the file was read now, and not the index alone.
    """

    record: Record
    rewards: Sequence[float]
    path: Path
    stamp: str
    read: bool


def indexed(record: Record, path: Path = Path()) -> IndexedRun:
    """What the index keeps of a record."""
    budget = json.dumps(record.track_fields.get("budget"), sort_keys=True)
    what = record.run_id, record.method, record.track, record.target, record.seed, record.status, budget
    return IndexedRun(path, *what, _seconds(record), str(record.manifest.get("finished_at", ""))[:100])


class RecordIndex:
    """The records below a folder.

    Args:
        root: the store; nothing is made where it does not exist.
        kept: whether the index is written beside the records: not in folders that are only looked at.
        visit: given each record that is read from its file, whole, and its stamp; maybe in another process.
    """

    def __init__(self, root: Path, kept: bool = True, visit: Visit | None = None) -> None:
        self.root = root
        self._kept, self._visit = kept, visit
        self._read: set[str] = set()

    def runs(self, track: str | None = None) -> list[IndexedRun]:
        """All records that can be read, or those of a track, by path."""
        with self._current() as database:
            where, values = ("WHERE run_id IS NOT NULL", ()) if track is None else ("WHERE track = ?", (track,))
            rows = database.execute(f"SELECT {_COLUMNS} FROM run {where} ORDER BY path", values).fetchall()
        return [IndexedRun(self.root / path, *rest) for path, *rest in rows]

    def briefs(self, tracks: Collection[str] = ()) -> list[Brief]:
        """All records that can be read, or those of some tracks, by path, without their curves."""
        asked = f"AND run.track IN ({', '.join('?' * len(tracks))})" if tracks else ""
        which = f"FROM run JOIN brief USING (path) WHERE reason IS NULL {asked} ORDER BY path"
        seen: dict[str, dict[str, Any]] = {}

        def once(text: str) -> dict[str, Any]:
            if text not in seen:
                seen[text] = json.loads(text)
            return seen[text]

        with self._current() as database:
            rows = database.execute(f"SELECT path, stamp, content, rewards, fields, common {which}", tuple(tracks))
            return [
                Brief(
                    _whole(content, path, once(fields), once(common)),
                    array("d", rewards),
                    self.root / path,
                    stamp,
                    path in self._read,
                )
                for path, stamp, content, rewards, fields, common in rows
            ]

    def unreadable(self) -> list[tuple[Path, str]]:
        """Files that are no record, with the reason."""
        with self._current() as database:
            rows = database.execute("SELECT path, reason FROM run WHERE reason IS NOT NULL ORDER BY path").fetchall()
        return [(self.root / path, reason) for path, reason in rows]

    @contextlib.contextmanager
    def _current(self) -> Iterator[sqlite3.Connection]:
        """The database, agreeing with the files."""
        with contextlib.ExitStack() as stack:
            try:
                database = stack.enter_context(contextlib.closing(self._open()))
                self._agree(database)
            except (sqlite3.Error, OSError, ValueError) as error:
                database = stack.enter_context(contextlib.closing(_fresh(sqlite3.connect(":memory:"))))
                self._agree(database)
                if not isinstance(error, sqlite3.OperationalError):  # which is one that others write, or a full disk
                    self._forget()
            yield database

    def _open(self) -> sqlite3.Connection:
        if not (self._kept and self.root.is_dir()):
            return _fresh(sqlite3.connect(":memory:"))
        path = self.root / _FILE
        path.parent.mkdir(exist_ok=True)
        database = sqlite3.connect(path, timeout=5.0)
        try:
            database.execute("PRAGMA synchronous=OFF")  # a torn one is made afresh
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                _fresh(database)
        except BaseException:
            database.close()
            raise
        return database

    def _agree(self, database: sqlite3.Connection) -> None:
        known = dict(database.execute("SELECT path, stamp FROM run"))
        there = {path.relative_to(self.root).as_posix(): path for path in record_paths(self.root)}
        stamps = {name: _stamp(path) for name, path in there.items()}
        gone = [(name,) for name in known if not stamps.get(name)]
        if gone:
            with database:
                for table in ("run", "brief"):
                    database.executemany(f"DELETE FROM {table} WHERE path = ?", gone)
        wanted = [(name, stamp) for name, stamp in stamps.items() if stamp and known.get(name) != stamp]
        for rows in in_parts(_Reader(self.root, self._visit), wanted):  # each part by itself: others may wait
            self._read.update(str(row[0]) for row, _ in rows)
            briefs = [(row[0], *content) for row, content in rows if content is not None]
            with database:
                database.executemany("DELETE FROM brief WHERE path = ?", [(row[0],) for row, _ in rows])
                database.executemany(f"INSERT OR REPLACE INTO run VALUES ({', '.join('?' * 12)})", [r for r, _ in rows])
                database.executemany("INSERT OR REPLACE INTO brief VALUES (?, ?, ?, ?, ?)", briefs)

    def _forget(self) -> None:
        """A damaged file goes; the next one is made afresh."""
        with contextlib.suppress(OSError):
            (self.root / _FILE).unlink(missing_ok=True)


def is_store(root: Path) -> bool:
    """Whether runs were made into this folder, so that an index may be kept there."""
    return (root / ".locks").is_dir() or (root / ".index").is_dir()


def record_paths(root: Path) -> list[Path]:
    """The `record.json` below a store or a folder of results, sorted; not those of its pages and networks."""
    found = []
    for folder, names, inside in os.walk(root):
        if folder == str(root):
            names[:] = [name for name in names if name not in _RESERVED]
        names[:] = [name for name in names if not name.startswith(".") and name != "journal"]
        if "record.json" in (*inside, *names):  # a folder of that name is listed too, as what cannot be read
            found.append(Path(folder, "record.json"))
            names[:] = [name for name in names if name != "record.json"]
    return sorted(found)


def _fresh(database: sqlite3.Connection) -> sqlite3.Connection:
    database.executescript(
        f"DROP TABLE IF EXISTS run; DROP TABLE IF EXISTS brief; {_SCHEMA} PRAGMA user_version = {_VERSION};"
    )
    return database


def _stamp(path: Path) -> str | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


Row = tuple[tuple[object, ...], tuple[bytes, bytes, str, str] | None]
"""Of the table `run`, and of `brief`: None for what cannot be read."""


@dataclass(frozen=True)
class _Reader:
    """Makes rows of files."""

    root: Path
    visit: Visit | None

    def __call__(self, wanted: tuple[str, str]) -> Row:
        name, stamp = wanted
        return _row(name, self.root / name, stamp, self.visit)


def _row(name: str, path: Path, stamp: str, visit: Visit | None) -> Row:
    try:
        record = parse_record(read_regular(path), str(path))
        if record.run_id != path.parent.name:
            raise StoreError(
                f"record {path}: it says run_id {record.run_id!r}, but lies in the folder of {path.parent.name!r}."
            )
    except (StoreError, OSError) as error:
        return (name, stamp, str(error).encode("utf-8", "backslashreplace").decode(), *[None] * 9), None
    if visit is not None:
        visit(record, stamp)
    run = indexed(record)
    what = run.run_id, run.method, run.track, run.target, run.seed, run.status, run.budget, run.seconds, run.finished_at
    return (name, stamp, None, *what), _parts(record)


def _parts(record: Record) -> tuple[bytes, bytes, str, str]:
    """A row of `brief`: the record, its rewards, and what thousands have in common: track and most of the manifest."""
    common = {name: value for name, value in record.manifest.items() if isinstance(value, dict | list)}
    own = {name: value for name, value in record.manifest.items() if name not in common}
    slim = record.model_copy(update={"curve": (), "track_fields": {}, "manifest": own})
    content = slim.model_dump_json(by_alias=True).encode()
    return content, array("d", rewards_of(record)).tobytes(), json.dumps(record.track_fields), json.dumps(common)


def _whole(content: bytes, path: str, fields: dict[str, Any], common: dict[str, Any]) -> Record:
    record = parse_record(content, path)
    return record.model_copy(update={"track_fields": fields, "manifest": record.manifest | common})


def _seconds(record: Record) -> float | None:
    if record.pruned is None or not {"dense", "total"} <= record.ledger.keys():
        return None
    return record.ledger["total"].device_seconds - record.ledger["dense"].device_seconds
