"""What a method needs of a run (`Method.needs`), checked while a plan is made: before any data or training."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from torch.nn.modules.batchnorm import _BatchNorm

from bench.data.own import dataset_of
from bench.errors import unknown_name
from bench.networks.base import NetworkSpec
from bench.networks.registry import network_of
from bench.specs.track import Track
from bench.trial.method import Method

__all__ = ["NEEDS", "unmet_need"]


def unmet_need(method: type[Method], track: Track) -> str | None:
    """What the track does not offer of what the method needs, with the next action; None where all is there.

    Raises:
        UsageError: the method names a need that nobody knows.
    """
    for need in sorted(method.needs):
        if need not in NEEDS:
            raise unknown_name(f"need of {method.name}", need, NEEDS)
        if missing := NEEDS[need](method, track):
            return f"{method.name} needs {need}, and {missing}"
    return None


def _batchnorm(_method: type[Method], track: Track) -> str | None:
    if _has_batchnorm(track.model_dump_json(), track.root):
        return None
    return f"network {track.network!r} of track {track.name!r} has no BatchNorm. Choose a track with another network."


def _dense_history(method: type[Method], track: Track) -> str | None:
    if track.weights is not None:
        return f"the dense network of track {track.name!r} comes trained from {track.weights}. Choose another method."
    if method.starts == "trained":
        return None
    return "starts untrained: there is no dense training that its observers could watch. Declare starts = 'trained'."


NEEDS: dict[str, Callable[[type[Method], Track], str | None]] = {
    "batchnorm": _batchnorm,
    "dense-history": _dense_history,
}
"""By need: what is missing, or None."""


@lru_cache(maxsize=64)
def _has_batchnorm(fields: str, root: Path | None) -> bool:
    track = Track.model_validate_json(fields).model_copy(update={"root": root})
    source = dataset_of(track)
    built = network_of(track).construct(NetworkSpec.of(source.shape, source.classes))
    return any(isinstance(module, _BatchNorm) and module.affine for module in built.modules())
