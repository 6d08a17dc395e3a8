"""Hashes of files' contents, remembered by size and times of change, so that a large folder is read once and not again.

Images are decoded on the same way, so that a damaged one is found before a run begins and not hours later. What was
found lies in one small database a folder in the user's cache directory. A file whose size, time of change or inode's
time of change differs from what is remembered is read again; so an edit is seen even where a tool puts the old date
back. Where the database cannot be written, everything is read each time.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from bench.data.streaming import decoders
from bench.errors import DataError

__all__ = ["file_sha256", "files_sha256"]

_TABLE = """
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, bytes INTEGER, modified INTEGER, changed INTEGER, sha256 TEXT
) WITHOUT ROWID
"""
_Stamp = tuple[int, int, int]
_TOGETHER = 1000  # files that are read between two writes to the database
_NAMED = 5


def file_sha256(path: Path) -> str:
    """SHA-256 over the content of one file.

    Raises:
        DataError: it cannot be read.
    """
    return files_sha256(path.parent, [path.name])[0]


def files_sha256(
    root: Path,
    names: Sequence[str],
    report: Callable[[int, int], None] = lambda _done, _all: None,
    complaint: Callable[[bytes], str | None] | None = None,
) -> list[str]:
    """SHA-256 over the content of each file.

    Args:
        root: the folder that the names begin in.
        names: of the files.
        report: told how many of the files that must be read have been.
        complaint: says of a content what is wrong with it, None where nothing is; asked once for each content, too.

    Raises:
        DataError: a file cannot be read, or there is a complaint about some: all of them are found first.
    """
    database = _database(root, "" if complaint is None else "looked into")
    known = _remembered(database)
    stamps = [_stamp(root / name) for name in names]
    found = [""] * len(names)
    for place, (name, stamp) in enumerate(zip(names, stamps, strict=True)):
        before = known.get(name)
        if before is not None and before[0] == stamp:
            found[place] = before[1]
    unknown = [place for place, sha256 in enumerate(found) if not sha256]
    wrong: list[str] = []

    def read(place: int) -> str:
        if complaint is None:
            return _sha256(root / names[place])
        content = _read(root / names[place])
        if (said := complaint(content)) is not None:
            wrong.append(f"{root / names[place]} ({said})")
            return ""
        return hashlib.sha256(content).hexdigest()

    with ThreadPoolExecutor(decoders()) as pool:
        for start in range(0, len(unknown), _TOGETHER):
            places = unknown[start : start + _TOGETHER]
            for place, sha256 in zip(places, pool.map(read, places), strict=True):
                found[place] = sha256
            _remember(database, [(names[each], *stamps[each], found[each]) for each in places if found[each]])
            report(min(start + _TOGETHER, len(unknown)), len(unknown))
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise DataError(
            f"{len(wrong)} of {len(names)} files cannot be read as images: {'; '.join(sorted(wrong)[:_NAMED])}{more}. "
            "Put intact copies in their places, or take them away, and give the command again."
        )
    return found


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror}. Make it readable for this user.")


def _database(root: Path, kind: str = "") -> Path:
    from platformdirs import user_cache_path

    name = hashlib.sha256(os.fsencode(root.resolve()) + kind.encode()).hexdigest()[:16]
    return user_cache_path("bench") / "hashes" / f"{name}.sqlite"


def _remembered(database: Path) -> dict[str, tuple[_Stamp, str]]:
    if not database.is_file():
        return {}
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            rows = connection.execute("SELECT name, bytes, modified, changed, sha256 FROM files").fetchall()
    except sqlite3.Error:  # not one of ours, or damaged: what it said is found out again
        with suppress(OSError):
            database.unlink()
        return {}
    return {name: ((size, modified, changed), sha256) for name, size, modified, changed, sha256 in rows}


def _remember(database: Path, rows: Sequence[tuple[str, int, int, int, str]]) -> None:
    with suppress(sqlite3.Error, OSError, UnicodeEncodeError):
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
            connection.execute(_TABLE)
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
