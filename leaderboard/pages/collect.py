"""What the pages and the report are both made from: the board, the verdicts, and each method with its runs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.leaderboard.board.board import Board
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.blocks import TableRow
from bench.leaderboard.pages.installed import Installed, installed_methods
from bench.leaderboard.pages.method_page import method_row
from bench.leaderboard.verdicts.verdicts import ClaimVerdict, verdicts
from bench.records.evidence import Evidence
from bench.records.record import Record
from bench.records.store import Unreadable
from bench.specs.claim import Claim

__all__ = ["Material", "MethodRuns", "gather"]


@dataclass(frozen=True)
class MethodRuns:
    """A method: what it says of itself (None where it is not installed), and all its runs, claims' included."""

    name: str
    installed: Installed | None
    records: tuple[Record, ...]

    @property
    def row(self) -> TableRow:
        """Its row in the overview."""
        return method_row(self.name, self.installed, self.records)


@dataclass(frozen=True)
class Material:
    """All that is shown.

    Attributes:
        board: the tracks, without the claims' own.
        verdicts: of all claims.
        methods: installed ones first, then those that only records name.
        records: all of them, by run id.
        rewards: of searches, by run id; None: as the records' curves have it.
    """

    board: Board
    verdicts: tuple[ClaimVerdict, ...]
    methods: tuple[MethodRuns, ...]
    records: Mapping[str, Record]
    rewards: Mapping[str, Sequence[float]] | None = None


def gather(
    claims: Iterable[Claim],
    by_id: Mapping[str, Record],
    unreadable: Iterable[Unreadable],
    evidence: Mapping[str, Evidence] | None = None,
    rewards: Mapping[str, Sequence[float]] | None = None,
) -> Material:
    """Everything from the records; they, `evidence` (what lies beside them) and `rewards` of searches by run id."""
    claims, records = list(claims), list(by_id.values())
    claimed = {claim.track.name for claim in claims if claim.own_runs}
    by_method: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_method[record.method].append(record)
    installed = installed_methods()
    names = [*installed, *sorted(set(by_method) - set(installed))]
    return Material(
        board=summarise((record for record in records if record.track not in claimed), unreadable, evidence),
        verdicts=tuple(verdicts(claims, records)),
        methods=tuple(MethodRuns(name, installed.get(name), tuple(by_method[name])) for name in names),
        records=by_id,
        rewards=rewards,
    )
