"""What a run is, before it runs: method x track x target x seed, resolved, and its identity.

The run's id is a hash over everything that decides the result: settings, target, seed, the track's deciding fields, and
the code, weights and images that they name (`bench.specs.code`, `bench.networks.identity`, `bench.data.splits`).
Done already means that a record with this id exists; anything edited is another id. What is at its default does not
count, nor does the record's schema, so that a field that is added later changes no id.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from bench.specs.budget import Unit
from bench.specs.digest import digest
from bench.specs.target import Target
from bench.specs.track import Track, deciding_fields

__all__ = ["PROTOCOL", "RunSpec", "package_sha256", "run_label"]

PROTOCOL = 1
"""Stands for the harness in every id. Raise it by one whenever the same method, settings, network and images come to
other bits than before: another order of images, another schedule, another default of a track's field, another way to
measure. `tests/runner/test_protocol.py` holds a run against what this number stands for, and asks for it."""

_NOT_HARNESS = {"methods", "datasets", "leaderboard"}


@dataclass(frozen=True)
class RunSpec:
    """One run, resolved.

    Attributes:
        method: name of the method.
        config: the method's settings, all of them, as JSON values.
        method_sha256: hash over the method's source.
        track: the comparison, with the budget that is really used.
        unit: unit of the binding budget.
        target: what to reach.
        seed: fixes everything that is drawn.
        device: `cpu` or `cuda`.
        device_class: kind of device that results depend on; `cpu`, or the GPU's model.
        network_sha256: hash over the network's source and the versions of the libraries that it comes from.
        weights_sha256: hash over the weights that files give the network; None where there are none.
        data_sha256: hash over the images and labels, their split and how they are normalised.
        protocol: the harness's number; another one only for a record of another version.
        data_fingerprint: hash over images, labels and split alone, as the manifest has it.
        sources: of `method` and `network`, the hash of each module behind their hashes and the version of each library:
            for people, the identity has their hash.
    """

    method: str
    config: dict[str, Any]
    method_sha256: str
    track: Track
    unit: Unit
    target: Target
    seed: int
    device: Literal["cpu", "cuda"] = "cpu"
    device_class: str = "cpu"
    network_sha256: str = ""
    weights_sha256: str | None = None
    data_sha256: str = ""
    protocol: int = PROTOCOL
    data_fingerprint: str = field(default="", compare=False)
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)

    @property
    def precision(self) -> str:
        """Arithmetic on this device: `float32` or `bfloat16`."""
        return self.track.precision.cpu if self.device == "cpu" else self.track.precision.cuda

    def identity(self) -> dict[str, Any]:
        """Everything that decides the result and is not at its default, as JSON values."""
        every = {
            "protocol": self.protocol,
            "method": self.method,
            "config": self.config,
            "method_sha256": self.method_sha256,
            "network_sha256": self.network_sha256,
            "weights_sha256": self.weights_sha256,
            "data_sha256": self.data_sha256,
            "track": deciding_fields(self.track.model_dump(mode="json")),
            "unit": self.unit,
            "target": str(self.target),
            "seed": self.seed,
            "precision": self.precision,
            "device_class": self.device_class,
        }
        return {name: value for name, value in every.items() if value is not None}

    @cached_property
    def run_id(self) -> str:
        """Readable prefix and hash, safe as a folder name, at most 128 characters."""
        label = run_label(self.method, self.track.name, str(self.target), self.seed)
        return f"{label}-{digest(self.identity())[:12]}"


def run_label(method: str, track: str, target: str, seed: int) -> str:
    """What an id begins with, for people."""
    label = f"{method}-{track}-{target.replace('=', '')}-s{seed}"
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in label)[:100]


@cache
def package_sha256() -> str:
    """Hash over the harness's own source files, plugins and leaderboard not included."""
    root = Path(__file__).parent.parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0] not in _NOT_HARNESS:  # an installed copy has them below `bench`
            found.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()
