"""Networks that a user hands over as objects, in a notebook: known by a name as long as the process lives."""

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import NetworkSpec
from bench.networks.own import OwnNetwork, check_outputs

__all__ = ["PREFIX", "LiveNetwork", "hand_over_network"]

PREFIX = "live:"
_HANDED: dict[str, nn.Module] = {}


def hand_over_network(network: nn.Module) -> str:
    """Keeps a copy of the network and gives the name that it is known by: its class, and a hash over its tensors."""
    found = hashlib.sha256(str(network).encode())
    for name, tensor in network.state_dict().items():
        found.update(name.encode() + tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    name = f"{PREFIX}{type(network).__name__}-{found.hexdigest()[:8]}"
    _HANDED[name] = copy.deepcopy(network).cpu().eval()
    return name


class LiveNetwork(OwnNetwork):
    """A network that was handed over.

    Raises:
        UsageError: none of that name was, in this process.
    """

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(name, settings, root)
        if name not in _HANDED:
            raise UsageError(
                f"network {name!r} was handed over in a notebook and is not known here. Hand it over again with "
                "bench.prune, or load a run of it with bench.load(run, into=network)."
            )

    def construct(self, spec: NetworkSpec) -> nn.Module:
        """A copy."""
        network = copy.deepcopy(_HANDED[self.name]).train()
        check_outputs(network, spec, self.name)
        return network.float()

    def _made_twice(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """What is here is trained: there is no constructor that could draw anew."""
        values = dict(_HANDED[self.name].named_parameters())
        return values, values
