"""How large a network is: parameters, nonzero parameters and bytes on disk."""

from dataclasses import dataclass

import safetensors.torch
from torch import Tensor, nn

__all__ = ["SizeCount", "measure_size"]


@dataclass(frozen=True)
class SizeCount:
    """The size of a network.

    Attributes:
        params: trainable or not, a shared one once.
        nonzero: those that are not exactly zero.
        weights, weights_nonzero: the same without biases and normalisation (parameters of one dimension).
        bytes: of the state dict as a safetensors file, parameters and statistics, uncompressed: zeros take as
            much room as other values.
    """

    params: int
    nonzero: int
    weights: int
    weights_nonzero: int
    bytes: int


def measure_size(network: nn.Module) -> SizeCount:
    """The size of `network`. It serialises the network in memory, which takes about twice its bytes."""
    tensors: dict[str, Tensor] = {}
    seen = set()
    for name, value in network.state_dict().items():
        # safetensors refuses tensors that share memory: a tied weight is kept under its first name only.
        place = (value.device, value.data_ptr(), tuple(value.shape), value.stride())
        if value.numel() and place in seen:
            continue
        seen.add(place)
        tensors[name] = value.detach().cpu().clone().contiguous()
    parameters = list(network.parameters())
    weights = [p for p in parameters if p.dim() >= 2]
    return SizeCount(
        params=sum(p.numel() for p in parameters),
        nonzero=sum(int(p.detach().count_nonzero()) for p in parameters),
        weights=sum(p.numel() for p in weights),
        weights_nonzero=sum(int(p.detach().count_nonzero()) for p in weights),
        bytes=len(safetensors.torch.save(tensors)),
    )
