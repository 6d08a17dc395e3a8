"""The pages of a store: from its index, and a page of a run only where its record is new.

The index gives records without their curves, which is all that tables need; a record is read whole once, when its own
page is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.drawn import DrawnPages
from bench.leaderboard.pages.folder import PageFolder
from bench.leaderboard.pages.links import run_page
from bench.leaderboard.pages.site import RunPages, write_leaderboard, write_tracks
from bench.leaderboard.verdicts.verdicts import verdicts
from bench.records.evidence import evidence_below
from bench.records.index import Brief, RecordIndex, is_store
from bench.records.parts import in_parts
from bench.records.record import Record
from bench.records.store import Unreadable, read_paths
from bench.specs.claim import claim_names, load_claim

__all__ = ["draw_stores", "draw_touched"]


def draw_stores(roots: Sequence[Path], out: Path, tracks: Sequence[str] = ()) -> tuple[Path, int, int]:
    """Writes the leaderboard of stores, and of folders of records that are only read.

    Args:
        roots: the folders; of runs that are in several the last one counts.
        out: folder of the pages.
        tracks: only these; empty for all.

    Returns:
        The index's path, the number of records that it shows, and of files that could not be read.

    Raises:
        StoreError: `out` cannot be written.
    """
    draw = _DrawRun(
        out,
        frozenset(claim.track.name for claim in map(load_claim, claim_names()) if claim.own_runs),
        frozenset(tracks),
    )
    drawn, by_id = DrawnPages(out), dict[str, Brief]()
    unreadable: list[Unreadable] = []
    visited: set[str] = set()
    for root in roots:
        kept = is_store(root)
        index = RecordIndex(root, kept, visit=draw if kept else None)
        for brief in index.briefs(tracks):
            by_id[brief.record.run_id] = brief
            visited.discard(brief.record.run_id)
            if kept and brief.read:
                visited.add(brief.record.run_id)
        unreadable += [Unreadable(path, reason) for path, reason in index.unreadable()]
    left = [brief for run_id, brief in by_id.items() if run_id not in visited and not drawn.keep(*_page(brief))]
    for _ in in_parts(draw.file, [brief.path for brief in left]):
        pass
    for brief in (*left, *(by_id[run_id] for run_id in visited)):
        drawn.note(*_page(brief))
    evidence = {run_id: found for root in roots for run_id, found in evidence_below(root).items()}
    rewards = {run_id: brief.rewards for run_id, brief in by_id.items()}
    records = (brief.record for brief in by_id.values())
    page = write_leaderboard(records, unreadable, out, evidence, rewards)
    drawn.save()
    return page, len(by_id), len(unreadable)


def draw_touched(root: Path, fresh: Sequence[Record], out: Path) -> Path:
    """Draws again what new runs of a large store change: their own pages and those of their tracks.

    The overview and the pages of methods and claims stay as they are until `draw_stores` draws them.

    Args:
        root: the store.
        fresh: the new runs.
        out: folder of the pages.

    Returns:
        The path of the page to look at first.

    Raises:
        StoreError: `out` cannot be written.
    """
    claims = [load_claim(name) for name in claim_names()]
    claimed = frozenset(claim.track.name for claim in claims if claim.own_runs)
    draw = _DrawRun(out, claimed)
    for record in fresh:
        draw(record, "")
    touched = {record.track for record in fresh} - claimed
    own = [claim for claim in claims if claim.base in touched]
    briefs = RecordIndex(root, is_store(root)).briefs(touched | {claim.track.name for claim in own}) if touched else []
    by_id = {brief.record.run_id: brief.record for brief in briefs}
    rewards = {brief.record.run_id: brief.rewards for brief in briefs}
    board = summarise([each for each in by_id.values() if each.track in touched], (), evidence_below(root))
    return write_tracks(board.tracks, verdicts(own, by_id.values()), by_id, rewards, out)


def _page(brief: Brief) -> tuple[str, str]:
    """The name of a run's page, and what it is made from."""
    return run_page(brief.record.run_id), f"{brief.path.absolute()} {brief.stamp}"


@dataclass(frozen=True)
class _DrawRun:
    """Draws a run's page, in whichever process."""

    out: Path
    claimed: frozenset[str]
    tracks: frozenset[str] = field(default_factory=frozenset)

    def __call__(self, record: Record, _stamp: str) -> None:
        if not self.tracks or record.track in self.tracks:
            text = _pages().run(record, has_track_page=record.track not in self.claimed)
            PageFolder(self.out).write(run_page(record.run_id), text)

    def file(self, path: Path) -> None:
        """The same from its file."""
        for record in read_paths([path]):
            self(record, "")


@cache
def _pages() -> RunPages:
    return RunPages()
