"""Which runs may be compared at all: the same protocol for a table, the same dense network for a pair of rows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from bench.records.record import Record
from bench.specs.changes import flat
from bench.specs.track import STATUS_FIELDS, deciding_fields

__all__ = ["NOT_DECIDING", "Protocol", "Start", "digest", "editions", "flat", "protocol_of", "start_of", "text"]

NOT_DECIDING = STATUS_FIELDS | {"name"}
"""Beside the plan's: fields that decide no number of a run. Tables stand under a track's name already."""

_SHOWN = 3  # differing fields in a table's heading

Start = tuple[int, str]  # a seed and the hash of its dense network


class Protocol(NamedTuple):
    """What the rows of a table share.

    Attributes:
        kind: structured or unstructured.
        unit, amount: the budget.
        device: class of device.
        edition: short hash of the rest: the track's fields (data split, dense and fine-tuning recipes, threads,
            precision by device), the data's fingerprint, and precision and threads as they were.
    """

    kind: Literal["structured", "unstructured"]
    unit: Literal["dense_epochs", "device_seconds"]
    amount: float
    device: str
    edition: str


def protocol_of(record: Record) -> Protocol:
    """The protocol of a run."""
    return Protocol(
        record.kind,
        record.budget.unit,
        record.budget.amount,
        text(record.manifest.get("device_class", "unknown device")),
        _edition(json.dumps(_decided(record))),
    )


def start_of(record: Record) -> Start:
    """A run's seed with the dense network of it: two runs are a pair where both agree.

    The dense network does not depend on the method, nor on the observers that watch its training, but on the processor
    and the libraries. A method that starts untrained has it in its record too: there it says where the run was made.
    """
    dense = record.manifest.get("dense_sha256") or (record.dense.weights_sha256 if record.dense else "")
    return record.seed, text(dense)


def editions(examples: Mapping[Protocol, Record]) -> dict[Protocol, str]:
    """What sets the editions of a track apart, in words; empty where there is only one.

    Args:
        examples: a record of each protocol.
    """
    if len({protocol.edition for protocol in examples}) < 2:
        return dict.fromkeys(examples, "")
    every = {protocol: flat(_fields(record)) for protocol, record in examples.items()}
    names = sorted({name for fields in every.values() for name in fields})
    differing = [name for name in names if len({digest(fields.get(name)) for fields in every.values()}) > 1]
    shown = {  # with what is at its default
        protocol: flat({"track": record.track_fields}) | every[protocol] for protocol, record in examples.items()
    }
    return {protocol: _words(shown[protocol], differing) or f"edition {protocol.edition}" for protocol in examples}


def digest(value: Any) -> str:
    """Short hash of a JSON value (NaN, which a foreign file may hold, included)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def text(value: Any) -> str:
    """A JSON value as a reader would write it."""
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


@lru_cache(maxsize=1000)
def _edition(decided: str) -> str:
    """Of what `_decided` says, as JSON text: thousands of runs say the same."""
    track_fields, run = json.loads(decided)
    return digest({"track": deciding_fields(track_fields, NOT_DECIDING), "run": run})


def _fields(record: Record) -> dict[str, Any]:
    track_fields, run = _decided(record)
    return {"track": deciding_fields(track_fields, NOT_DECIDING), "run": run}


def _decided(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    measured = {key: record.manifest.get(key) for key in ("data_fingerprint", "precision", "threads")}
    if record.schema_version > 1:  # earlier records do not say it
        measured |= {key: record.manifest.get(key) for key in ("network_sha256", "weights_sha256")}
    return record.track_fields, measured


def _words(fields: Mapping[str, Any], names: Sequence[str]) -> str:
    parts = [f"{name.partition('.')[2]}={text(fields.get(name, 'not set'))[:24]}" for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        more = len(names) - _SHOWN
        parts.append(f"and {more} more field{'s' if more > 1 else ''}")
    return ", ".join(parts)
