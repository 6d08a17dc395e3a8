"""What a table's ranking says, as data: rank intervals, tests of pairs, findings, the summary, what an agent adds."""

from dataclasses import dataclass
from typing import Literal

from bench.leaderboard.stats.estimate import Estimate

__all__ = [
    "AcrossTargets",
    "AgentGain",
    "Area",
    "Finding",
    "Floor",
    "Interval",
    "NotCompared",
    "Outcome",
    "PairTest",
    "RankInterval",
    "Ranking",
    "TargetRanking",
]

Outcome = Literal["better", "better on these images", "equivalent", "unknown"]

MARGINS = (0.05, 0.10)
"""Of the dense network's error: within them two rows count as equivalent."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class RankInterval:
    """The ranks that a method may have.

    Attributes:
        low: 1 + the methods that are significantly better.
        high: the number of methods less those that are significantly worse.
        methods: number of methods that are ranked; controls are lines of reference and have no rank.
        provisional: fewer than five seeds.
    """

    low: int
    high: int
    methods: int
    provisional: bool


@dataclass(frozen=True)
class NotCompared:
    """A row without a rank, and why."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class PairTest:
    """Two rows at one target.

    Attributes:
        better, other: labels, the one with the lower mean of ln(error) first.
        difference: accuracy of `better` minus that of `other`, means over seeds, a fraction.
        interval: 95 % interval of it, for other seeds; not corrected for the number of pairs.
        ratio: error rate of `better` over that of `other`, of the means of ln(error).
        images: 95 % interval of the difference when test images and seeds are drawn again; None without bits, and where
            the seeds' test tells nothing apart, so that there is nothing to confirm.
        p, p_holm: two-sided, of the moderated test; corrected by Holm in the pair's family.
        level: what `p_holm` is held against.
        margin: the smallest of `MARGINS` within which the two are equivalent; None where in none.
        seeds: of each.
    """

    better: str
    other: str
    difference: float
    interval: Interval
    ratio: float
    images: Interval | None
    p: float
    p_holm: float
    level: float
    margin: float | None
    seeds: tuple[int, int]

    @property
    def significant(self) -> bool:
        """Whether other seeds would say so too."""
        return self.p_holm < self.level

    @property
    def outcome(self) -> Outcome:
        """What is known: `better` takes other seeds and other images, `equivalent` the margin of the dense error."""
        if self.significant:
            return "better" if self.images is not None and self.images.low > 0 else "better on these images"
        return "unknown" if self.margin is None else "equivalent"


@dataclass(frozen=True)
class Finding:
    """What is known at one target, for a sentence.

    Attributes:
        target: the target.
        methods: labels of the ranked methods, the best mean first.
        best: those that none of the others is better than.
        wins: (better, other, whether it holds for other images) of each pair of methods that is told apart.
        controls: by control: the methods that are better than it, and those that are worse.
        margin_best, margin_all: within how much (a fraction of images) the `best`, and all rows with the controls, are
            shown to agree; None for a single row.
        detectable: the smallest difference, a fraction of images, that would have been found with 80 % power between
            two rows; None where nothing was compared.
        saturated: no method is better than random pruning, and all rows are equivalent within a tenth of the dense
            network's error.
        not_compared: how many rows have no rank.
    """

    target: str
    methods: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    wins: tuple[tuple[str, str, bool], ...] = ()
    controls: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()
    margin_best: float | None = None
    margin_all: float | None = None
    detectable: float | None = None
    saturated: bool = False
    not_compared: int = 0


@dataclass(frozen=True)
class TargetRanking:
    """The pairs at one target.

    Attributes:
        target: the target.
        rows: labels of the rows that are compared, controls included, the best mean first.
        pairs: number of pairs tested.
        correlation: of two rows at equal seed, as it was counted.
        pair_tests: those pairs that are shown, best rows first.
        finding: what is known.
        not_compared: rows without a rank.
    """

    target: str
    rows: tuple[str, ...]
    pairs: int
    correlation: float
    pair_tests: tuple[PairTest, ...]
    finding: Finding
    not_compared: tuple[NotCompared, ...]


@dataclass(frozen=True)
class Area:
    """One row across the targets.

    Attributes:
        label, control: the row.
        area: accuracy averaged over the logarithm of the size, a fraction; over seeds.
        rank: by the same tests as at a target; None for a control.
    """

    label: str
    control: bool
    area: Estimate
    rank: RankInterval | None


@dataclass(frozen=True)
class AcrossTargets:
    """The summary over all targets of one measure.

    Attributes:
        measure: `macs` or `params`: what the targets name, and what the area is taken over.
        targets: the targets that every method here has.
        rows: the largest area first.
        left_out: methods that lack a target, seeds, or others to be compared with, and why.
    """

    measure: str
    targets: tuple[str, ...]
    rows: tuple[Area, ...]
    left_out: tuple[NotCompared, ...]


@dataclass(frozen=True)
class AgentGain:
    """What an agent adds to a search at one target: the same method with `agent=uniform` beside it.

    Attributes:
        target, label: the row with the agent.
        counterpart: the same method, settings and target by lot; empty where nobody has run it.
        difference: mean accuracy with the agent minus without, a fraction; None without a counterpart.
        interval: its 95 % interval; None where either has fewer than three seeds.
        p: of the moderated test, not corrected: one planned comparison.
        seeds: of each.
        identical: seeds on which agent and lot ended in the same network, bit by bit.
        searched, from_warm_up: runs whose records say which of their networks was kept, and those of them that kept
            one from before the agent had learnt anything.
    """

    target: str
    label: str
    counterpart: str
    difference: float | None
    interval: Interval | None
    p: float | None
    seeds: tuple[int, int]
    identical: int
    searched: int = 0
    from_warm_up: int = 0


@dataclass(frozen=True)
class Floor:
    """What the test split of a track that is too small to rank can tell apart at one target.

    Attributes:
        target: the target.
        images: number of test images.
        seeds: over how many seeds the accuracies are averaged.
        pairs: pairs of rows that it is measured on; 0 where it is worked out from the accuracy.
        half_width: differences below it are within the noise of the test images, a fraction.
    """

    target: str
    images: int
    seeds: int
    pairs: int
    half_width: float


@dataclass(frozen=True)
class Ranking:
    """All of one table.

    Attributes:
        targets: by target; empty where the track is too small to rank.
        across: the summaries over targets.
        agent_gains: what agents add.
        floors: by target, where the track is too small to rank.
    """

    targets: tuple[TargetRanking, ...] = ()
    across: tuple[AcrossTargets, ...] = ()
    agent_gains: tuple[AgentGain, ...] = ()
    floors: tuple[Floor, ...] = ()
