"""What a network is, before it is trained: its code, and the weights that files give it.

Two networks of the same identity come out of `build` the same for the same seed; one that was edited, or whose file of
weights was replaced, has another identity, and so other runs and another dense network.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from bench.data.hashes import file_sha256
from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec
from bench.specs.sources import Source, source_of

__all__ = ["NetworkIdentity", "network_identity"]


@dataclass(frozen=True)
class NetworkIdentity:
    """Code and given weights of a network.

    Attributes:
        source: its own modules, and the libraries that they import by version.
        weights_sha256: of what files give it; None where all its weights are drawn.
    """

    source: Source = field(default_factory=Source)
    weights_sha256: str | None = None


def network_identity(plugin: Network, spec: NetworkSpec) -> NetworkIdentity:
    """The identity of a network for images and labels of this kind.

    Given weights are those of the file that the plugin names (`Network.weights`). A plugin outside this package that
    builds or initialises its network itself may read files without naming them: parameters that two seeds leave equal,
    and that are no constant, are taken as given.

    Raises:
        UsageError: the plugin has no source that can be read, or its weights' file cannot be.
    """
    cls = type(plugin)
    folder = getattr(plugin, "folder", None)
    source = source_of(cls.__module__, folder if isinstance(folder, Path) else None, with_libraries=True)
    given = []
    if plugin.weights is not None:
        if not Path(plugin.weights).is_file():
            raise UsageError(f"network {plugin.name!r}: its file of weights {str(plugin.weights)!r} does not exist.")
        given.append(file_sha256(Path(plugin.weights)))
    own_way = cls.build is not Network.build or cls.initialise is not Network.initialise
    if own_way and not cls.__module__.startswith("bench.networks.") and (fixed := _fixed(plugin, spec)):
        given.append(fixed)
    weights = hashlib.sha256("\n".join(given).encode()).hexdigest() if given else None
    return NetworkIdentity(source, weights)


def _fixed(plugin: Network, spec: NetworkSpec) -> str:
    """Hash over the parameters that do not depend on the seed; empty where there are none."""
    one, two = (_drawn(plugin, spec, seed) for seed in (0, 1))
    others = dict(two.named_parameters())
    digest, any_fixed = hashlib.sha256(), False
    for name, parameter in sorted(one.named_parameters()):
        values, other = parameter.detach(), others.get(name)
        if other is None or not torch.equal(values, other.detach()) or not values.numel():
            continue
        if bool((values == values.flatten()[0]).all()):
            continue
        any_fixed = True
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest() if any_fixed else ""


def _drawn(plugin: Network, spec: NetworkSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return plugin.build(spec)
