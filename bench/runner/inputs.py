"""What the names of a run stand for on this machine: the code of its method and network, given weights, images.

A spec holds their hashes as they were when the plan was made. A run holds them against what its own process has, so
that a file that is edited while a plan is under way gives no result under another file's name.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from bench.data.folder import data_folder
from bench.data.splits import Data, load_data
from bench.errors import DataError, UsageError
from bench.networks.base import NetworkSpec
from bench.networks.identity import NetworkIdentity, network_identity
from bench.networks.registry import network_of
from bench.specs.changes import changed_inputs, inputs_of
from bench.specs.code import source_of
from bench.specs.run import RunSpec
from bench.specs.track import Track
from bench.trial.method import Method

__all__ = ["Device", "InputsOf", "TrackInputs", "inputs_here", "inputs_in", "refuse_other_inputs", "with_inputs"]

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class TrackInputs:
    """What a track's network and data set are.

    Attributes:
        network: its code and given weights.
        data_sha256: hash over images, labels, split and normalisation.
        data_fingerprint: hash over images, labels and split.
    """

    network: NetworkIdentity
    data_sha256: str
    data_fingerprint: str


InputsOf = Callable[[Track, Device], TrackInputs]


def inputs_in(track: Track, data: Data) -> TrackInputs:
    """The inputs of a track whose images are at hand.

    Raises:
        UsageError: there is no such network, or it does not take these images.
    """
    weights = None if track.weights is None else track.at(track.weights)
    identity = network_identity(network_of(track), NetworkSpec.of(data.shape, data.classes), weights)
    return TrackInputs(identity, data.sha256, data.fingerprint)


def inputs_here(track: Track, device: Device) -> TrackInputs:
    """The inputs of a track, its images loaded from the default data folder."""
    return inputs_in(track, load_data(track, data_folder(None), device))


def with_inputs(spec: RunSpec, method: type[Method] | None, inputs: TrackInputs) -> RunSpec:
    """The spec with the hashes of what it is made from; those of the method stay where it is None."""
    source = None if method is None else source_of(method.__module__)
    return replace(
        spec,
        method_sha256=spec.method_sha256 if source is None else source.sha256,
        network_sha256=inputs.network.source.sha256,
        weights_sha256=inputs.network.weights_sha256,
        data_sha256=inputs.data_sha256,
        data_fingerprint=inputs.data_fingerprint,
        sources={
            "method": spec.sources.get("method", {}) if source is None else source.lines(),
            "network": inputs.network.source.lines(),
        },
    )


def refuse_other_inputs(spec: RunSpec, method: type[Method] | None, data: Data) -> None:
    """Does nothing where this process has the code, weights and images that the spec was made with.

    Args:
        spec: of the run.
        method: the method's class; None where it is not imported yet, and not looked at.
        data: the images.

    Raises:
        UsageError: code or weights are others by now.
        DataError: the images are.
    """
    if not spec.sources:  # made by hand, for a run that nobody keeps
        return
    now = with_inputs(spec, method, inputs_in(spec.track, data))
    changed = changed_inputs(inputs_of(spec), inputs_of(now))
    if not changed:
        return
    error = DataError if changed == ["images"] else UsageError
    raise error(f"{', '.join(changed)} changed while the plan was carried out. Give the command again.")
