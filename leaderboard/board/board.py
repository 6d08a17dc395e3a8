"""What a leaderboard says, as data: tracks, tables whose rows may be compared, and what is left out."""

import math
from dataclasses import dataclass, field
from typing import Literal

from bench.leaderboard.board.comparison import Ranking, RankInterval
from bench.leaderboard.stats.estimate import Estimate

__all__ = [
    "Badges",
    "Board",
    "Estimate",
    "ExcludedRun",
    "LatencyChange",
    "Row",
    "Run",
    "SeedStatus",
    "Table",
    "TrackSummary",
    "seed_status",
]

SEEDS_TO_RANK = 5
SEEDS_TO_BE_PROVISIONAL = 3

SeedStatus = Literal["ranked", "provisional", "listed"]


@dataclass(frozen=True)
class LatencyChange:
    """Measured time of one forward pass at one batch size, before and after; means over seeds of medians.

    Attributes:
        batch: images at once.
        dense_seconds, pruned_seconds: as measured.
        doubt: why the times say nothing; empty where the dense networks of all runs of the table agree.
    """

    batch: int
    dense_seconds: float
    pruned_seconds: float
    doubt: str = ""

    @property
    def speedup(self) -> float:
        """How many times faster the pruned network is."""
        return self.dense_seconds / self.pruned_seconds if self.pruned_seconds else math.inf


@dataclass(frozen=True)
class Run:
    """One run behind a row."""

    run_id: str
    seed: int
    command: str


@dataclass(frozen=True)
class Badges:
    """What a reader may believe of a row.

    Attributes:
        seeds: number of seeds.
        tries: settings that were tried on validation before these were kept; None where no record says.
        networks: runs whose network is kept beside the record, so that its accuracy can be measured again.
        verified: runs that somebody ran again on another machine, with the same result.
    """

    seeds: int
    tries: int | None
    networks: int
    verified: int


@dataclass(frozen=True)
class Row:
    """One method at one target, over its seeds.

    Attributes:
        method, control: the method's name, and whether it is a control.
        variant: what sets the row apart from others of the same method: settings, or code; mostly empty.
        target: what was asked for.
        seed_status: by the number of seeds: five rank a row, three make it provisional, fewer list it.
        top1_test, dense_top1_test: fractions, of the pruned and of the dense network.
        difference: pruned minus dense, paired by seed.
        macs, macs_nonzero: of the pruned network; `macs_nonzero` counts nonzero weights only.
        macs_ratio, macs_nonzero_ratio, params_ratio: shares of the dense network that are kept, means.
        compression: dense parameters / nonzero parameters left, mean over seeds.
        compression_weights: the same without biases and normalisation; None where a record has no such count.
        latency: by batch size.
        device_seconds: time that a run held the device, mean over seeds.
        spent: share of the budget that was spent, mean over seeds; None where the records do not tell.
        own_epochs: epochs of the pruned network that what was spent after the dense network would pay for, mean over
            seeds: at a tenth of the MACs three dense epochs are thirty of the pruned network's. None where the records
            do not tell.
        runs: by seed, those of twins after them.
        badges: what may be believed of it.
        twins: labels of rows that ended in the same networks, bit by bit, and are shown in this one.
        methods: names of all methods in it.
        rank: its ranks at the target; None where it has none.
    """

    method: str
    control: bool
    variant: str
    target: str
    seed_status: SeedStatus
    top1_test: Estimate
    dense_top1_test: Estimate
    difference: Estimate
    macs: Estimate
    macs_nonzero: Estimate
    macs_ratio: float
    macs_nonzero_ratio: float
    params_ratio: float
    compression: float
    compression_weights: float | None
    latency: tuple[LatencyChange, ...]
    device_seconds: float
    spent: float | None
    own_epochs: float | None
    runs: tuple[Run, ...]
    badges: Badges
    twins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    rank: RankInterval | None = None

    @property
    def own_label(self) -> str:
        """The method with what sets the row apart."""
        return f"{self.method} ({self.variant})" if self.variant else self.method

    @property
    def label(self) -> str:
        """All the names of the row: `a = b` where both ended in the same networks."""
        return " = ".join((self.own_label, *self.twins))


@dataclass(frozen=True)
class Table:
    """Rows that may be compared with each other.

    Attributes:
        kind, budget_amount, budget_unit, device_class: what the rows share.
        edition: what sets it apart from tables with other fields of the track, other data or other precision; mostly
            empty.
        rows: by target, the best mean first.
        curve_only: rows whose methods chose their own size (`auto`): for the plot, not for the fixed targets.
        dense_top1_test, dense_macs: the dense networks, one a seed.
        ranking: comparisons of the rows, the summary across targets, what agents add.
        groups: prunable channel groups that some row narrowed; None where no record has layers.
    """

    kind: Literal["structured", "unstructured"]
    budget_amount: float
    budget_unit: Literal["dense_epochs", "device_seconds"]
    device_class: str
    edition: str
    rows: tuple[Row, ...]
    curve_only: tuple[Row, ...]
    dense_top1_test: Estimate
    dense_macs: float
    ranking: Ranking = field(default_factory=Ranking)
    groups: int | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The fixed targets, in order."""
        return tuple(dict.fromkeys(row.target for row in self.rows))

    def at(self, target: str) -> tuple[Row, ...]:
        """The rows at one target."""
        return tuple(row for row in self.rows if row.target == target)


@dataclass(frozen=True)
class ExcludedRun:
    """A run that no row counts, and why."""

    run_id: str
    method: str
    target: str
    seed: int
    status: str
    reason: str
    command: str


@dataclass(frozen=True)
class TrackSummary:
    """One track's page.

    Attributes:
        name, text: the track's name and its sentence.
        facts: data set, network and the like, by name.
        ranked: whether the track is large enough to rank methods.
        tables: what may be compared, table by table.
        left_out: runs that no row counts.
    """

    name: str
    text: str
    facts: dict[str, str]
    ranked: bool
    tables: tuple[Table, ...]
    left_out: tuple[ExcludedRun, ...]

    @property
    def runs(self) -> int:
        """Number of runs that rows count."""
        return sum(len(row.runs) for table in self.tables for row in (*table.rows, *table.curve_only))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of all rows."""
        rows = [row for table in self.tables for row in (*table.rows, *table.curve_only)]
        return tuple(sorted({name for row in rows for name in row.methods}))


@dataclass(frozen=True)
class Board:
    """All tracks, and the files that could not be read as records (name, reason)."""

    tracks: tuple[TrackSummary, ...]
    unreadable: tuple[tuple[str, str], ...] = ()


def seed_status(seeds: int) -> SeedStatus:
    """What so many seeds are worth."""
    if seeds >= SEEDS_TO_RANK:
        return "ranked"
    return "provisional" if seeds >= SEEDS_TO_BE_PROVISIONAL else "listed"
