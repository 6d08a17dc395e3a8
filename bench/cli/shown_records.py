"""The records that commands look at: those of the store, and those that come with bench."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from bench.records.evidence import Evidence, evidence_below
from bench.records.lookup import committed_results
from bench.records.record import Record
from bench.records.store import Unreadable, read_briefs, read_records

__all__ = ["all_briefs", "all_evidence", "all_records", "draw_leaderboard"]

Found = tuple[list[Record], list[Unreadable]]


def all_records(store: Path) -> Found:
    """Records of the store and the committed results, and what could not be read."""
    return _of_both(read_records, store)


def all_briefs(store: Path, tracks: Collection[str]) -> Found:
    """The same of some tracks, without curves; see `bench.records.index.Brief`."""
    return _of_both(partial(read_briefs, tracks=tracks), store)


def _of_both(read: Callable[[Path], Found], store: Path) -> Found:
    committed, broken = read(committed_results())
    own, unreadable = read(store)
    by_id = {record.run_id: record for record in (*committed, *own)}
    return list(by_id.values()), [*broken, *unreadable]


def all_evidence(store: Path) -> dict[str, Evidence]:
    """What lies beside the records of the store and the committed results, by run id."""
    return evidence_below(committed_results()) | evidence_below(store)


def draw_leaderboard(store: Path, out: Path, tracks: Sequence[str] = (), store_only: bool = False) -> tuple[Path, str]:
    """Writes the pages of the store and the committed results.

    Args:
        store: folder of the runs.
        out: folder of the pages.
        tracks: only these; empty for all.
        store_only: leave out the committed results.

    Returns:
        The index, and what was drawn, for people.

    Raises:
        StoreError: `out` cannot be written.
    """
    from bench.leaderboard.pages.store_pages import draw_stores

    roots = (store,) if store_only else (committed_results(), store)
    page, shown, unreadable = draw_stores(roots, out, tracks)
    return page, f"{shown} records ({unreadable} unreadable): {page}"
