"""What several records say against each other: a run under another seed's name, or a copy of one under another's.

One dense network belongs to one seed, and one pruned network to one seed; the same recipe and seed on the same kind of
CPU gives one dense network, whatever is pruned from it; a run that was copied has the original's device time to the
last digit. Runs that were moved to another seed all together agree with everything here: `bench verify` finds that.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

from bench.records.record import Record

__all__ = ["contradictions"]

K = TypeVar("K", bound=Hashable)


def contradictions(records: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """Run ids that cannot be what they say beside the others, and why; records that are there twice count once."""
    ended = (record for record in records if record.status == "ok")
    found = list({(r.run_id, _dense(r), _network(r), _seconds(r)): r for r in ended}.values())
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
    for group in _grouped((_recipe(record), record) for record in found):
        counts = Counter(_dense(record) for record in group)
        usual, times = counts.most_common(1)[0]
        for record in group:
            doubtful = _dense(record) != usual or 2 * times <= len(group)  # without a majority none is believed
            if len(counts) > 1 and doubtful:
                others = ", ".join(sorted(str(dense) for dense in counts if dense != _dense(record)))
                yield (
                    record.run_id,
                    f"manifest.dense_sha256 is {_dense(record)}, and the other runs of this recipe, seed and kind of "
                    f"CPU began with {others}",
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


def _recipe(record: Record) -> str | None:
    """What decides a dense network that a CPU trains, bit by bit; None for a GPU's, and one that was handed over."""
    manifest, fields = record.manifest, record.track_fields
    if manifest.get("device") != "cpu" or manifest.get("weights_sha256") or fields.get("weights"):
        return None
    libraries = manifest.get("libraries")
    parts = [
        manifest.get("dense_machines") or manifest.get("hardware"),
        libraries.get("torch") if isinstance(libraries, dict) else None,
        *(manifest.get(name) for name in ("dense_key", "threads", "precision", "protocol", "network_sha256")),
        *(fields.get(name) for name in ("dataset", "network", "validation", "dense")),
        record.seed,
    ]
    return json.dumps(parts, sort_keys=True, default=str)


def _network(record: Record) -> str | None:
    return record.pruned.weights_sha256 if record.pruned else None


def _seconds(record: Record) -> float:
    return record.ledger["total"].device_seconds if "total" in record.ledger else 0.0
