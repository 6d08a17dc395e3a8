"""Ids of records of schema 1: a hash over other fields, among them the schema, and neither network nor images.

Those records stay readable as what they are. Their ids are worked out from the record's own fields, so that fields that
were added since do not matter.
"""

from collections.abc import Mapping
from typing import Any

from bench.specs.digest import digest
from bench.specs.run import run_label

__all__ = ["run_id_of_schema_1"]

_LEFT_OUT = ("summary", "targets", "seeds", "ranked", "latency_batch")


def run_id_of_schema_1(fields: Mapping[str, Any]) -> str:
    """The id that a record of schema 1 must have.

    Args:
        fields: `method`, `config`, `track`, `track_fields`, `unit`, `target`, `seed`, `method_sha256`, `precision` and
            `device_class`, as the record has them.
    """
    track = {name: value for name, value in fields["track_fields"].items() if name not in _LEFT_OUT}
    names = ("method", "config", "method_sha256", "unit", "target", "seed", "precision", "device_class")
    identity = {"schema": 1, "track": track, **{name: fields[name] for name in names}}
    label = run_label(fields["method"], fields["track"], fields["target"], fields["seed"])
    return f"{label}-{digest(identity)[:12]}"
