"""The records that commands look at: those of the store, and those that come with bench."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.records.evidence import Evidence, evidence_below
from bench.records.lookup import committed_results
from bench.records.record import Record
from bench.records.store import Unreadable, each_record, read_records

__all__ = ["all_evidence", "all_records", "draw_leaderboard"]


def all_records(store: Path) -> tuple[list[Record], list[Unreadable]]:
    """Records of the store and the committed results, and what could not be read."""
    committed, broken = read_records(committed_results())
    own, unreadable = read_records(store)
    by_id = {record.run_id: record for record in (*committed, *own)}
    return list(by_id.values()), [*broken, *unreadable]


def all_evidence(store: Path) -> dict[str, Evidence]:
    """What lies beside the records of the store and the committed results, by run id."""
    return evidence_below(committed_results()) | evidence_below(store)


def draw_leaderboard(store: Path, out: Path, tracks: Sequence[str] = (), store_only: bool = False) -> tuple[Path, str]:
    """Writes the pages of the store and the committed results, record by record.

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
    from bench.leaderboard.pages.site import write_leaderboard

    drawn: set[str] = set()
    unreadable: list[Unreadable] = []

    def records() -> Iterator[Record]:
        for root in (store,) if store_only else (committed_results(), store):
            for each in each_record(root):
                if isinstance(each, Unreadable):
                    unreadable.append(each)
                elif not tracks or each.track in tracks:
                    drawn.add(each.run_id)
                    yield each

    page = write_leaderboard(records(), unreadable, out, all_evidence(store))
    return page, f"{len(drawn)} records ({len(unreadable)} unreadable): {page}"
