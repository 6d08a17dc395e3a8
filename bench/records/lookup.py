"""Finding a run by what a person types: a run id, the beginning of it or of its hash, or a path."""

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from bench.errors import StoreError, unknown_name
from bench.records.index import record_paths
from bench.records.reading import read_regular
from bench.records.record import Record, parse_record

__all__ = ["committed_results", "find_record", "find_records"]

_SHOWN = 8


def committed_results() -> Path:
    """The folder of the results that come with a checkout; an installed wheel has none."""
    return Path(str(files("bench.leaderboard") / "results"))


def find_records(name: str, store: Path) -> list[tuple[Record, Path]]:
    """All records that a name may mean, from the store, else from the committed results, and the folders they lie in.

    Args:
        name: a run id, the beginning of it or of its hash; or the path of a record, or of a run's folder.
        store: folder of the runs.

    Raises:
        StoreError: there is none, or one cannot be read; the near names are listed.
    """
    return [(_read(path), path.parent) for path in _paths(name, store)]


def find_record(name: str, store: Path) -> tuple[Record, Path]:
    """The one record that a name means, and the folder that it lies in.

    Raises:
        StoreError: there is none, there are several (they are listed), or it cannot be read.
    """
    found = _paths(name, store)
    if len(found) > 1:
        ids = [path.parent.name for path in found]
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        raise StoreError(f"{name!r} names {len(ids)} runs: {', '.join(ids[:_SHOWN])}{more}. Give more of the name.")
    return _read(found[0]), found[0].parent


def _paths(name: str, store: Path) -> list[Path]:
    """The records that a name may mean, one or more, in order."""
    path = Path(name)
    given = path if path.is_file() else path / "record.json"
    if given.exists() and (given != path or not path.is_dir()):
        return [given]
    known: list[str] = []
    for root in (store, committed_results()):
        runs = {each.parent.name: each for each in record_paths(root)}
        exact = [runs[name]] if name in runs else []
        found = exact or [
            where
            for run, where in runs.items()
            if name and (run.startswith(name) or run.rpartition("-")[2].startswith(name))
        ]
        if found:
            return found
        known += runs
    if not store.is_dir():
        raise StoreError(
            f"no store at {str(store)!r}, and no committed run {name!r}. Run something, or give --store DIR."
        )
    near = str(unknown_name("run", name, known))
    if len(known) <= _SHOWN:
        raise StoreError(near)
    own = [each.parent.name for each in record_paths(store)]
    shown = ", ".join(get_close_matches(name, own, _SHOWN, 0.0)) + (
        f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else ""
    )
    raise StoreError(f"{near.partition(' Known:')[0]} It is none of {len(known)}. In {store}: {shown or 'none'}.")


def _read(path: Path) -> Record:
    try:
        return parse_record(read_regular(path), str(path))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or 'it is not there'}") from None
