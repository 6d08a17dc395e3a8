"""What several records say against each other: a run under another seed's name, or a copy of one under another's.

One dense network belongs to one seed, and one pruned network to one seed; a run that was copied has the original's
device time to the last digit. A run that was moved to another seed alone, with all others of that seed, agrees with
everything here: only `bench verify` finds that.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

from bench.records.record import Record

__all__ = ["contradictions"]

K = TypeVar("K", bound=Hashable)


def contradictions(records: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """Run ids that cannot be what they say beside the others, and why; records that are there twice count once."""
    found = list({record.run_id: record for record in records if record.status == "ok"}.values())
    for what, groups in (
        ("manifest.dense_sha256", _grouped((_dense(record), record) for record in found)),
        ("pruned.weights_sha256", _grouped((_network(record), record) for record in found)),
    ):
        for group in groups:
            seeds = sorted({record.seed for record in group})
            if len(seeds) > 1:
                names = ", ".join(record.run_id for record in group if record.seed != seeds[0])
                for record in group:
                    yield (
                        record.run_id,
                        f"{what} is the same at seeds {', '.join(map(str, seeds))} (beside {names[:300]}): one of them "
                        "has another seed's result",
                    )
    for group in _grouped(((_network(record), _seconds(record)), record) for record in found if _network(record)):
        names = ", ".join(record.run_id for record in group)
        for record in group:
            yield (
                record.run_id,
                f"network and device seconds are those of another run, to the last digit ({names[:300]}): a copy",
            )


def _grouped(pairs: Iterable[tuple[K | None, Record]]) -> Iterator[list[Record]]:
    groups: dict[K, list[Record]] = defaultdict(list)
    for key, record in pairs:
        if key:
            groups[key].append(record)
    return (group for group in groups.values() if len(group) > 1)


def _dense(record: Record) -> str | None:
    found = record.manifest.get("dense_sha256")
    return found if isinstance(found, str) else None


def _network(record: Record) -> str | None:
    return record.pruned.weights_sha256 if record.pruned else None


def _seconds(record: Record) -> float:
    return record.ledger["total"].device_seconds if "total" in record.ledger else 0.0
