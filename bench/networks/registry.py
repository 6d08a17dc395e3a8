"""Networks by name: in this folder, of other distributions, `timm:NAME`, `torchvision:NAME`, and a user's own files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.networks.base import Network
from bench.networks.live import PREFIX, LiveNetwork
from bench.networks.own import OwnNetwork
from bench.networks.timm import TimmNetwork
from bench.networks.torchvision import TorchvisionNetwork
from bench.plugins import Discovered, discover, find
from bench.plugins.imported import is_import
from bench.specs.track import Track

__all__ = ["all_networks", "names", "network", "network_of"]

LIBRARIES = {"timm:": TimmNetwork, "torchvision:": TorchvisionNetwork}


def _found() -> Discovered:
    return discover("bench.networks", "bench.networks", Network)


def network_of(track: Track) -> Network:
    """The network of a track; weights that a track gives are not read.

    Raises:
        UsageError: see `network`.
    """
    return network(track.network, track.settings, track.root)


def network(name: str, settings: Mapping[str, Any] | None = None, root: Path | None = None) -> Network:
    """The network called `name`.

    Args:
        name: of a plugin; `timm:NAME` or `torchvision:NAME` for a library's model NAME, without pretrained weights;
            `FILE.py:CLASS` or `package.module:function` for one's own.
        settings: of a library's model, or of the constructor of one's own.
        root: the folder that a file's path begins in.

    Raises:
        UsageError: there is none; the near names are listed. Or it takes no settings.
    """
    for prefix, library in LIBRARIES.items():
        if name.startswith(prefix):
            return library(name.removeprefix(prefix), settings)
    if name.startswith(PREFIX):
        return LiveNetwork(name, settings, root)
    if is_import(name):
        return OwnNetwork(name, settings, root)
    if settings:
        raise UsageError(f"network {name!r} takes no settings: only libraries' models and networks of one's own do.")
    found: Network = find("bench.networks", "bench.networks", Network, name)()
    return found


def names() -> list[str]:
    """The names of all networks but the libraries', sorted."""
    return sorted(_found().classes)


def all_networks() -> list[Network]:
    """All networks but the libraries', by name."""
    return [network(name) for name in names()]
