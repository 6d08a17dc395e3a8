"""Multiply-accumulates of one inference, counted by fvcore.

Counted are convolutions, linear layers and matrix products. Normalisation folds into its neighbour at
inference and is left out, as are pooling, resizing and activations: `bench.measure.operators` has the lists.
An operator that is on neither list is an error, so that no cost is missed silently.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore scripts a loss at import, which PyTorch warns of
    from fvcore.nn import FlopCountAnalysis
from torch import nn

from bench.errors import UncountedOperator
from bench.measure._mode import device_of, dtype_of, measuring
from bench.measure.operators import handlers

__all__ = ["MacCount", "count_macs", "macs_nonzero"]

WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class MacCount:
    """The multiply-accumulates of one image.

    Attributes:
        total: of the whole network.
        by_layer: by module name, without the module's children; all convolutions and linear layers, with 0 if
            they are never called, and every other module that costs something (attention's products, say). A
            module that has several names is under its first. The values add up to `total`.
    """

    total: int
    by_layer: dict[str, int]


@contextmanager
def _untouched(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Trace without traces: hooks, generators, modes and the log are on leaving as they were before."""
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    fast = torch.backends.mha.get_fastpath_enabled()
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in network.modules()]
    known = [(set(after), set(before)) for after, before in hooks]
    devices = [device] if device.type == "cuda" else []
    logger.setLevel(logging.ERROR)
    # The fused kernel of nn.MultiheadAttention and nn.TransformerEncoderLayer hides their matrix products.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.random.fork_rng(devices=devices), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logger.setLevel(level)
        for dicts, keys in zip(hooks, known, strict=True):  # fvcore leaves its hooks when a forward fails
            for registered, keep in zip(dicts, keys, strict=True):
                for key in set(registered) - keep:
                    del registered[key]


def count_macs(network: nn.Module, shape: tuple[int, ...]) -> MacCount:
    """Count the multiply-accumulates that the network executes for one image.

    Masked weights count like any other: see `macs_nonzero`. The network is left as it was.

    Args:
        network: on any device, in any mode; it is run once, in eval mode.
        shape: of one image, `(C, H, W)`.

    Raises:
        UncountedOperator: an operator is neither counted nor known to be free.
    """
    device = device_of(network)
    image = torch.zeros(1, *shape, device=device, dtype=dtype_of(network))
    analysis = FlopCountAnalysis(network, (image,)).clear_op_handles().set_op_handle(**handlers())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with _untouched(network, device), measuring(network), torch.no_grad():
        below = analysis.by_module()
    unknown = analysis.unsupported_ops()
    if unknown:
        listed = ", ".join(f"{op} ({count}x)" for op, count in sorted(unknown.items()))
        raise UncountedOperator(
            f"no handler counts {listed} in {type(network).__name__}. Register one, or None if it is free: "
            "bench.measure.operators.register_handler(op, handler)."
        )

    own = {name: int(count) for name, count in below.items()}
    for name, count in below.items():
        if name:
            own[name.rpartition(".")[0]] -= int(count)
    layers = {name for name, module in network.named_modules() if isinstance(module, WEIGHTED)}
    by_layer = {name: count for name, count in own.items() if count or name in layers}
    return MacCount(total=int(below[""]), by_layer=by_layer)


def macs_nonzero(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Count the multiply-accumulates whose weight is not zero, for one image of `shape` `(C, H, W)`.

    Products that are not a convolution's or a linear layer's own count in full, such as those between
    activations, and those inside `nn.MultiheadAttention`.

    Raises:
        UncountedOperator: an operator is neither counted nor known to be free.
    """
    macs = count_macs(network, shape)
    total = macs.total
    for name, count in macs.by_layer.items():
        module = network.get_submodule(name)
        if isinstance(module, WEIGHTED) and count:
            weight = module.weight.detach()
            zeros = weight.numel() - int(weight.count_nonzero())
            total -= count * zeros // weight.numel()
    return total
