"""What differs between records besides their results: settings, track fields, where they were made."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from bench.leaderboard.board.comparable import NOT_DECIDING, flat
from bench.records.record import Record
from bench.specs.track import deciding_fields

__all__ = ["ABSENT", "Differing", "differing", "differing_recipe_fields", "incomparable_reasons"]

# Of a manifest: what every run has of its own, and where it ran, which is compared apart.
_OWN = {"command", "finished_at", "machines", "dense_machines", "sources"}
ABSENT = "(none)"


@dataclass(frozen=True)
class Differing:
    """One thing that is not the same in all records.

    Attributes:
        group: `run`, `setting`, `track` or `manifest`.
        name: with dots where it is nested.
        values: one a record.
    """

    group: str
    name: str
    values: tuple[Any, ...]


def differing(records: Sequence[Record]) -> list[Differing]:
    """All that differs, in the order of the record."""
    groups: tuple[tuple[str, list[dict[str, Any]]], ...] = (
        ("run", [_run(record) for record in records]),
        ("setting", [flat(record.config) for record in records]),
        ("track", [flat(_without(record.track_fields, {"summary"})) for record in records]),
        ("manifest", [flat(_without(record.manifest, _OWN)) for record in records]),
    )
    found = []
    for group, each in groups:
        for name in dict.fromkeys(name for fields in each for name in fields):
            values = tuple(fields.get(name, ABSENT) for fields in each)
            if any(value != values[0] for value in values[1:]):
                found.append(Differing(group, name, values))
    return found


def incomparable_reasons(records: Sequence[Record]) -> list[str]:
    """Why the accuracies of these records cannot be held against each other; empty where they can."""
    asked = {
        "track": [record.track for record in records],
        "budget": [f"{record.budget.amount:g} {record.budget.unit}" for record in records],
        "data fingerprint": [str(record.manifest.get("data_fingerprint", ABSENT))[:12] for record in records],
        "device class": [str(record.manifest.get("device_class", ABSENT)) for record in records],
    }
    return [
        f"other {name}: {' | '.join(dict.fromkeys(values))}" for name, values in asked.items() if len(set(values)) > 1
    ]


def differing_recipe_fields(records: Sequence[Record]) -> list[str]:
    """The fields of the track that decide results and are not the same in all records; the budget apart."""
    tracks = [flat(deciding_fields(record.track_fields, NOT_DECIDING | {"budget"})) for record in records]
    names = sorted({name for fields in tracks for name in fields})
    return [name for name in names if any(fields.get(name) != tracks[0].get(name) for fields in tracks[1:])]


def _run(record: Record) -> dict[str, Any]:
    return {
        "method": record.method,
        "kind": record.kind,
        "track": record.track,
        "target": record.target,
        "seed": record.seed,
        "budget": f"{record.budget.amount:g} {record.budget.unit}",
    }


def _without(fields: Mapping[str, Any], names: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}
