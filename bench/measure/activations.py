"""Activations of named layers, reduced batch by batch to something small."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Reduce", "reduced_activations"]

Reduce = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def reduced_activations(
    network: nn.Module,
    layers: Sequence[str],
    batches: Iterable[tuple[Tensor, Tensor]],
    forward: Callable[[Tensor], Tensor],
    reduce: Reduce,
) -> dict[str, Tensor]:
    """What `reduce` makes of the layers' outputs, averaged over batches by their number of images.

    Args:
        network: has the layers.
        layers: names of modules whose outputs are wanted.
        batches: images [N, C, H, W] and labels.
        forward: runs the network on images.
        reduce: from outputs by layer name ([N, ...]) to small tensors by name, each a mean over the N images.

    Returns:
        Tensors by the names that `reduce` gives, on the CPU.
    """
    sums: dict[str, Tensor] = {}
    count = 0
    with _captured(network, layers) as seen:
        for images, _ in batches:
            forward(images)
            for name, value in reduce(seen).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value * len(images)
            count += len(images)
            seen.clear()
    return {name: (total / count).cpu() for name, total in sums.items()}


@contextmanager
def _captured(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The layers' outputs of the last forward pass, by name."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen[name] = output.detach()

        return hook

    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
