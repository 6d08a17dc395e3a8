"""A row with the records behind it, as the ranking takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.errors import UsageError
from bench.leaderboard.board.board import Row
from bench.leaderboard.board.comparable import Start, start_of
from bench.records.record import Measured, Record
from bench.specs.target import Target

__all__ = ["RunGroup"]


@dataclass(frozen=True)
class RunGroup:
    """One row of a table.

    Attributes:
        row: the row.
        records: its records, one a seed.
        twins: other rows whose networks are the same, bit by bit, at every seed; they are shown in this one.
    """

    row: Row
    records: tuple[Record, ...]
    twins: "tuple[RunGroup, ...]" = ()

    @cached_property
    def pruned(self) -> Mapping[Start, Measured]:
        """The pruned networks by seed and dense network."""
        return {start_of(record): record.pruned for record in self.records if record.pruned}

    @cached_property
    def error_rates(self) -> Mapping[Start, float]:
        """Test error rates by seed and dense network."""
        return {start: 1 - measured.top1_test for start, measured in self.pruned.items()}

    @cached_property
    def networks(self) -> Mapping[Start, str]:
        """Hashes of the pruned networks' weights."""
        return {start: measured.weights_sha256 for start, measured in self.pruned.items()}

    @property
    def tries(self) -> int | None:
        """How many settings were tried on validation before these were kept; None where a record does not say."""
        known = [record.tries for record in self.records]
        return None if None in known else max((tries for tries in known if tries is not None), default=None)

    @cached_property
    def target(self) -> Target | None:
        """The target; None where the record's text is none."""
        try:
            return Target.parse(self.row.target)
        except UsageError:
            return None

    @property
    def sized(self) -> bool:
        """Whether there is a size to meet, which is what makes rows comparable at a target."""
        return self.target is not None and self.target.has_size

    @property
    def variant_key(self) -> tuple[str, str]:
        """What is one method across targets: its name and what sets the variant apart."""
        return self.row.method, self.row.variant
