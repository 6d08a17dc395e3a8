"""A submitted record with what it is held against: its track, method, spec and the networks of its widths."""

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from bench.checks.record.fingerprints import KnownData, known_data
from bench.checks.record.rebuild import Built, Design, groups_of, rebuild
from bench.data.own import dataset_of
from bench.data.splits import load_data
from bench.errors import BenchError
from bench.networks.base import NetworkSpec
from bench.networks.identity import network_identity
from bench.networks.live import PREFIX as LIVE
from bench.networks.registry import network_of
from bench.plugins.imported import is_import
from bench.records.record import Measured, Record
from bench.specs.run import RunSpec
from bench.specs.schema1 import run_id_of_schema_1
from bench.specs.target import Target
from bench.specs.toml_file import describe
from bench.specs.track import Track, load_track
from bench.trial.method import Method
from bench.trial.methods import method_class

__all__ = ["Doubtful", "Refused", "Submission"]


class Refused(Exception):
    """A number does not follow. The text names the field, what it says and what it must be."""


class Doubtful(Exception):
    """There is nothing at hand to hold a number against. The text says what is missing."""


@dataclass(frozen=True)
class Submission:
    """A record under check.

    Attributes:
        record: the record.
        path: its file.
        wanted: the method whose result it must be, or `all`.
    """

    record: Record
    path: Path
    wanted: str

    @cached_property
    def track(self) -> Track:
        """The track's fields as this version reads them."""
        try:
            return Track.model_validate(self.record.track_fields)
        except ValidationError as error:
            raise Refused(f"track_fields: {describe(error)}") from None

    @cached_property
    def method(self) -> type[Method]:
        """The installed method of the record."""
        return method_class(self.record.method)

    @cached_property
    def spec(self) -> RunSpec:
        """What the record says it is a run of, the method's source as it was then."""
        manifest = self.record.manifest
        device = manifest.get("device")
        if device not in ("cpu", "cuda"):
            raise Refused(f"manifest.device is {device!r}, not cpu or cuda")
        kind: Literal["cpu", "cuda"] = "cpu" if device == "cpu" else "cuda"
        weights, protocol = manifest.get("weights_sha256"), manifest.get("protocol")
        return RunSpec(
            method=self.record.method,
            config=self.record.config,
            method_sha256=str(manifest.get("method_sha256")),
            track=self.track,
            unit=self.record.budget.unit,
            target=Target.parse(self.record.target),
            seed=self.record.seed,
            device=kind,
            device_class=str(manifest.get("device_class")),
            network_sha256=str(manifest.get("network_sha256")),
            weights_sha256=None if weights is None else str(weights),
            data_sha256=str(manifest.get("data_sha256")),
            protocol=protocol if type(protocol) is int else 0,
            data_fingerprint=str(manifest.get("data_fingerprint")),
        )

    @property
    def run_id(self) -> str:
        """The id that the record must have, by the rules of its schema."""
        if self.record.schema_version > 1:
            return self.spec.run_id
        own = ("method", "config", "track", "track_fields", "target", "seed")
        fields = {name: getattr(self.record, name) for name in own}
        manifest = {name: self.record.manifest.get(name) for name in ("method_sha256", "precision", "device_class")}
        return run_id_of_schema_1({**fields, **manifest, "unit": self.record.budget.unit})

    @cached_property
    def here(self) -> Track:
        """The track; where network or images are a user's own, with the folder that they lie in.

        A record alone runs no code of theirs: the track's file must be here and name the same.

        Raises:
            Doubtful: it is not, or what it names is gone or another by now.
        """
        track = self.track
        if track.images is None and not is_import(track.network) and not track.network.startswith(LIVE):
            return track
        found = self._own_track()
        plugin, source = network_of(found), dataset_of(found)
        then = self.record.manifest.get("network_sha256")
        if network_identity(plugin, NetworkSpec.of(source.shape, source.classes)).source.sha256 != then:
            raise Doubtful(f"the source of {track.network} has changed since: the network is another now")
        return found

    def _own_track(self) -> Track:
        own = ("network", "settings", "images")
        for path in self._track_files():
            with suppress(BenchError, OSError):
                found = load_track(str(path))
                if all(getattr(found, name) == getattr(self.track, name) for name in own):
                    return found
        raise Doubtful(
            "network or images are a user's own, and no track file here names the same: check it where it was run"
        )

    def _track_files(self) -> Iterator[Path]:
        """Where the command's track file may lie: from here, or in the folder that the record names."""
        words = shlex.split(str(self.record.manifest.get("command")))
        folder = self.record.manifest.get("track_folder")
        for option, value in pairwise(words):
            if option == "--track" and value.endswith(".toml"):
                yield Path(value)
                if isinstance(folder, str):
                    yield Path(folder) / Path(value).name

    @cached_property
    def design(self) -> Design:
        """The dense network.

        Raises:
            Doubtful: it, or its images, are a user's own and not at hand.
        """
        track = self.here
        source = dataset_of(track)
        settings = json.dumps(track.settings, sort_keys=True)
        return Design(track.network, settings, track.root, source.shape, source.classes, track.prunable)

    @property
    def dense(self) -> Measured:
        """The dense network's measures, which `status` found to be there."""
        if self.record.dense is None:
            raise Refused("dense is missing")
        return self.record.dense

    @property
    def pruned(self) -> Measured:
        """The pruned network's measures, which `status` found to be there."""
        if self.record.pruned is None:
            raise Refused("pruned is missing")
        return self.record.pruned

    @cached_property
    def built_dense(self) -> Built:
        """The dense network's sizes, from its architecture."""
        return rebuild(self.design, None, self.track.latency_batch)

    @cached_property
    def built(self) -> Built:
        """The pruned network's sizes, from the record's widths."""
        after = {layer.name: layer.width_after for layer in self.record.layers}
        before = {layer.name: layer.width_after for layer in self.built_dense.layers}
        if list(after) != list(before):
            raise Refused(f"layers are {', '.join(after) or 'none'}, and the network has {', '.join(before)}")
        if after == before:
            return self.built_dense
        widths = []
        for group in groups_of(self.design):
            kept = {name: after[name] * group.width / before[name] for name in group.layers}
            if len(set(kept.values())) > 1 or not 1 <= next(iter(kept.values())) <= group.width:
                raise Refused(
                    f"width_after of {', '.join(group.layers)}: {kept} channels of one group of {group.width}"
                )
            widths.append(int(next(iter(kept.values()))))
            after |= {name: before[name] for name in group.layers}
        if wrong := [name for name in after if after[name] != before[name]]:
            raise Refused(
                f"width_after of {wrong[0]} is {after[wrong[0]]}, and its {before[wrong[0]]} may not be pruned"
            )
        return rebuild(self.design, tuple(widths), self.track.latency_batch)

    @cached_property
    def known(self) -> KnownData | None:
        """What is known of the data set and its split; of images of one's own, what they are here."""
        if self.track.images is None:
            return known_data(self.track)
        try:
            data = load_data(self.here, Path(), "cpu")
        except (Doubtful, BenchError):
            return None
        if data.fingerprint != self.record.manifest.get("data_fingerprint"):
            return None
        return KnownData(data.fingerprint, len(data.train), len(data.test), bundled=True)
