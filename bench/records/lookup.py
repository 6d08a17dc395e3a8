"""Where a record is, by what a person calls it: a path, a run id or the beginning of one, in a store or committed."""

import difflib
from importlib.resources import files
from pathlib import Path

from bench.errors import StoreError, UsageError, unknown_name
from bench.records.record import Record, parse_record

__all__ = ["committed_results", "find_record", "find_run"]

_LIST_UP_TO = 40


def committed_results() -> Path:
    """The folder of the committed results, `leaderboard/results`; an installed copy has none."""
    return Path(str(files("bench.leaderboard") / "results"))


def find_record(name: str, store: Path) -> tuple[Record, Path]:
    """A record, and the folder that it lies in.

    Args:
        name: path of a record or of its folder, or what `find_run` takes.
        store: folder of the runs.

    Raises:
        StoreError, UsageError: none or several match, or it cannot be read; those that match, or are near, are listed.
    """
    path = Path(name)
    for file in (path, path / "record.json"):
        if file.is_file():
            return parse_record(_read(file), str(file)), file.parent
    return find_run(name, store)


def find_run(name: str, store: Path, committed: Path | None = None) -> tuple[Record, Path]:
    """A record of a store or, where that has none, of the committed ones, and the folder that it lies in.

    Args:
        name: run id, its hash alone, or a beginning of either.
        store: folder of the runs.
        committed: folder of other runs; None: the committed results.

    Raises:
        StoreError, UsageError: none or several match, or it cannot be read; those that match, or are near, are listed.
    """
    every: list[str] = []
    for root in (store, committed or committed_results()):
        found = {file.parent.name: file for file in sorted(root.glob("*/record.json"))}
        matches = [n for n in found if n == name] or [
            n for n in found if n.startswith(name) or n.rpartition("-")[2].startswith(name)
        ]
        if len(matches) > 1:
            raise StoreError(f"{name!r} names {len(matches)} runs: {', '.join(matches)}. Give more of the name.")
        if matches:
            file = found[matches[0]]
            record = parse_record(_read(file), str(file))
            if record.run_id != matches[0]:
                raise StoreError(
                    f"record {file}: it says run_id {record.run_id!r}, but lies in the folder of {matches[0]!r}."
                )
            return record, file.parent
        every += found if len(found) <= _LIST_UP_TO else difflib.get_close_matches(name, found, n=5, cutoff=0.3)
    error = unknown_name("run", name, every)
    if not store.is_dir():
        raise UsageError(f"{error} There is no store at {str(store)!r}: give --store DIR.")
    raise error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
