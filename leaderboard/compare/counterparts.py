"""Which run of one store stands against which of another: by method, track, target and seed."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bench.leaderboard.compare.facts import differing_recipe_fields, incomparable_reasons
from bench.records.record import Record

__all__ = ["Pair", "pair_up"]


@dataclass(frozen=True)
class Pair:
    """The same method, track, target and seed in both stores; one side is None where a store has no such run."""

    base: Record | None
    head: Record | None

    @property
    def any(self) -> Record:
        """The one that there is, the baseline's where there are both."""
        record = self.base or self.head
        assert record is not None
        return record


def pair_up(base: Iterable[Record], head: Iterable[Record]) -> list[Pair]:
    """Pairs by method, track, target and seed.

    Where a store has several such runs, those with equal settings, budget, track fields and device class are paired;
    of runs that do not differ even in those (the method's code was edited between), the newest counts. What is left
    over is paired if it is one run on each side, whatever differs between them.
    """
    bases, heads = _by_key(base), _by_key(head)
    pairs = []
    for key in sorted({*bases, *heads}):
        left, right = _newest(bases[key]), _newest(heads[key])
        alone = []
        for record in left:
            equal = next((other for other in right if _alike(record, other)), None)
            if equal is None:
                alone.append(record)
            else:
                right.remove(equal)
                pairs.append(Pair(record, equal))
        if len(alone) == len(right) == 1:
            pairs.append(Pair(alone[0], right[0]))
        else:
            pairs += [Pair(record, None) for record in alone] + [Pair(None, record) for record in right]
    return pairs


def _by_key(records: Iterable[Record]) -> dict[tuple[Any, ...], list[Record]]:
    found: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        found[record.track, record.method, record.target, record.seed].append(record)
    return found


def _newest(records: list[Record]) -> list[Record]:
    """Without the older of runs that are alike."""
    kept: list[Record] = []
    for record in sorted(
        records, key=lambda each: (str(each.manifest.get("finished_at", "")), each.run_id), reverse=True
    ):
        if not any(_alike(record, other) for other in kept):
            kept.append(record)
    return kept


def _alike(one: Record, other: Record) -> bool:
    return (
        one.config == other.config
        and not incomparable_reasons([one, other])
        and not differing_recipe_fields([one, other])
    )
