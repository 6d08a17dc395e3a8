"""The most memory that tensors take at once during one inference: weights, input and activations.

On a CPU it follows from the network alone, so it is the same on every machine; workspaces inside an operator
are not seen. On a GPU it is what torch's allocator handed out: workspaces and its rounding to 512 bytes are
included.
"""

import weakref
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.measure._mode import device_of, dtype_of, measuring

__all__ = ["peak_bytes"]


class _LiveStorages(TorchDispatchMode):
    """Follows the bytes of all storages that it is shown or that operators make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, int] = {}
        self._now = 0

    def add(self, tensor: Tensor) -> None:
        """Count the tensor's storage, once, from now until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        self._live[key] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, key).atexit = False

    def _free(self, key: int) -> None:
        self._now -= self._live.pop(key)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(outputs):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return outputs


def peak_bytes(network: nn.Module, shape: tuple[int, ...], batch: int) -> int:
    """The peak bytes of tensors alive during one forward pass in eval mode, without gradients.

    Args:
        network: on any device; its modes are left as they were. Parameters and buffers count in full.
        shape: of one image, `(C, H, W)`.
        batch: images in the pass.
    """
    device = device_of(network)
    weights = list(chain(network.parameters(), network.buffers()))
    with measuring(network), torch.no_grad():
        if device.type != "cuda":
            images = torch.zeros(batch, *shape, device=device, dtype=dtype_of(network))
            live = _LiveStorages()
            for tensor in (*weights, images):
                live.add(tensor)
            # Not inference mode: below it, composite operators reach the dispatch mode whole.
            with live:
                network(images)
            return live.peak
        held = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in weights}
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        network(torch.zeros(batch, *shape, device=device, dtype=dtype_of(network)))
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before + sum(held.values())
