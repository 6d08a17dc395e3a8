"""What a table's ranking says, as data: places, comparisons of pairs, the summary, what an agent adds."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.leaderboard.stats.estimate import Estimate

__all__ = [
    "AcrossTargets",
    "AgentGain",
    "Area",
    "Floor",
    "Interval",
    "NotCompared",
    "PairTest",
    "Place",
    "Ranking",
    "TargetRanking",
]

LEVEL = 0.05  # of Holm's correction over all pairs of a family


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Place:
    """A row's rank.

    Attributes:
        rank: 1 + the number of rows that are significantly better.
        tied: another row has the same rank.
        provisional: fewer than five seeds, or not compared with every other row.
    """

    rank: int
    tied: bool
    provisional: bool


@dataclass(frozen=True)
class NotCompared:
    """A row without a rank, or with one that does not rest on all others, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class PairTest:
    """Two rows at one target, on the seeds and dense networks that both have.

    Attributes:
        better, other: labels, the one with the higher mean over the shared seeds first.
        difference: `better` minus `other`, fractions, paired by seed: never negative.
        images: 95 % interval of it when the test images are drawn again and the networks stay; None without bits.
        p, p_holm: of the paired t-test; corrected for all pairs at the target.
        seeds: shared seeds.
    """

    better: str
    other: str
    difference: Estimate
    images: Interval | None
    p: float
    p_holm: float
    seeds: tuple[int, ...]

    @property
    def significant(self) -> bool:
        """Whether `better` counts as better in the ranking."""
        return self.p_holm < LEVEL and self.difference.mean > 0

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if not self.significant and self.images is not None and self.images.low > 0:
            return "better for these networks, but seeds vary too much to tell"
        if not self.significant:
            return "not told apart"
        if self.images is not None and self.images.low <= 0:
            return "better on these seeds, but other test images might say otherwise"
        return "better"


@dataclass(frozen=True)
class TargetRanking:
    """The pairs at one target.

    Attributes:
        target: the target.
        rows: number of rows with a rank.
        pairs: number of pairs tested, which is Holm's family.
        comparisons: those of them that are shown, best rows first.
        not_compared: rows without a rank, or with a provisional one for want of shared seeds.
    """

    target: str
    rows: int
    pairs: int
    comparisons: tuple[PairTest, ...]
    not_compared: tuple[NotCompared, ...]


@dataclass(frozen=True)
class Area:
    """One method across the targets.

    Attributes:
        label, control: the method.
        area: accuracy averaged over the logarithm of the size, a fraction; over seeds.
        place: its rank by the same tests as at a target.
    """

    label: str
    control: bool
    area: Estimate
    place: Place


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
    """What an agent adds to a search at one target.

    Attributes:
        target, label: the row with the agent.
        counterpart: the row without one that it is compared with.
        same_search: nothing but the agent differs; otherwise the counterpart only stands in.
        difference: with the agent minus without, fractions, paired by seed; without an interval where one seed
            is shared, None where none is.
        p: of the paired t-test, not corrected: one planned comparison; None where fewer than two seeds are shared.
    """

    target: str
    label: str
    counterpart: str
    same_search: bool
    difference: Estimate | None
    p: float | None


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


def places(ranks: Sequence[int | None], provisional: Sequence[bool]) -> tuple[Place | None, ...]:
    """Places from ranks (None for a row without one)."""
    return tuple(
        None if rank is None else Place(rank, ranks.count(rank) > 1, unsure)
        for rank, unsure in zip(ranks, provisional, strict=True)
    )
