"""Networks by name: those in this folder, those of other distributions, and `timm:NAME`."""

from bench.networks.base import Network
from bench.networks.timm import TimmNetwork
from bench.plugins import Discovered, discover

__all__ = ["all_networks", "names", "network"]

TIMM = "timm:"


def _found() -> Discovered:
    return discover("bench.networks", "bench.networks", Network)


def network(name: str) -> Network:
    """The network called `name`; `timm:NAME` is timm's model NAME, without pretrained weights.

    Raises:
        UsageError: there is none; the near names are listed.
    """
    if name.startswith(TIMM):
        return TimmNetwork(name.removeprefix(TIMM))
    found: Network = _found().get(name)()
    return found


def names() -> list[str]:
    """The names of all networks but timm's, sorted."""
    return sorted(_found().classes)


def all_networks() -> list[Network]:
    """All networks but timm's, by name."""
    return [network(name) for name in names()]
