"""Multiply-accumulates of one inference, counted by fvcore.

Counted are convolutions, linear and recurrent layers, attention, matrix products, distances and Fourier transforms.
Normalisation folds into its neighbour at inference and is left out, as are pooling, resizing and activations, and as is
the computing of a parametrised weight: `bench.measure.operators` and the modules beside it have the lists. An operator
that is on no list is an error, so that no cost is missed silently.
"""

import warnings
from collections import Counter
from dataclasses import dataclass

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore scripts a loss at import, which PyTorch warns of
    from fvcore.nn import FlopCountAnalysis
import torch
from torch import nn

from bench.errors import UncountedOperator
from bench.measure._mode import device_of, dtype_of, measuring
from bench.measure.operators import Handler, handlers, how_to_register
from bench.measure.tracing import failure, named, nothing_lost, traceable
from bench.measure.weight_shares import WeightShares

__all__ = ["MacCount", "count_macs", "macs_nonzero"]

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


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


def count_macs(network: nn.Module, shape: tuple[int, ...]) -> MacCount:
    """Count the multiply-accumulates that the network executes for one image.

    Masked weights count like any other: see `macs_nonzero`. The network is left as it was.

    Args:
        network: on any device, in any mode; it is run once, in eval mode.
        shape: of one image, `(C, H, W)`.

    Raises:
        UncountedOperator: an operator is neither counted nor known to be free, or the network cannot be traced.
        UsageError: the network cannot be run on such an image.
    """
    below = _count(network, shape, handlers())
    own = _without_children(below)
    layers = {name for name, module in network.named_modules() if isinstance(module, _LAYERS)}
    by_layer = {name: count for name, count in own.items() if count or name in layers}
    return MacCount(total=below[""], by_layer=by_layer)


def macs_nonzero(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Count the multiply-accumulates whose weight is not zero, for one image of `shape` `(C, H, W)`.

    A product with a parameter, whole or a part of it, counts by the parameter's share of nonzero entries, and so does
    one with a parametrised weight. Products between activations count in full.

    Raises:
        UncountedOperator: an operator is neither counted nor known to be free, or the network cannot be traced.
        UsageError: the network cannot be run on such an image.
    """
    shares = WeightShares(network)
    return _count(network, shape, {op: shares.scaled(op, handler) for op, handler in handlers().items()})[""]


def _count(network: nn.Module, shape: tuple[int, ...], known: dict[str, Handler]) -> dict[str, int]:
    """MACs by module name, children included."""
    device = device_of(network)
    image = torch.zeros(1, *shape, device=device, dtype=dtype_of(network))
    with traceable(network, device), measuring(network), torch.no_grad():
        try:
            analysis = FlopCountAnalysis(network, (image,)).clear_op_handles()
            analysis.set_op_handle(**{op: named(op, handler, network) for op, handler in known.items()})
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            with nothing_lost(network):
                below = analysis.by_module()
        except UncountedOperator:
            raise
        except Exception as error:  # whatever the network's own code, or PyTorch's tracer, raises
            raise failure(network, image, error) from error
    _refuse_unknown(network, {name: analysis.unsupported_ops(name) for name in below})
    return {name: int(count) for name, count in below.items()}


def _without_children(below: dict[str, int]) -> dict[str, int]:
    """From amounts with children to amounts without."""
    own = dict(below)
    for name, amount in below.items():
        if name:
            own[name.rpartition(".")[0]] -= amount
    return own


def _refuse_unknown(network: nn.Module, unknown: dict[str, Counter[str]]) -> None:
    """The error for operators without a handler: which, how often, in which modules, and what to do."""
    found = {}
    for op in sorted(unknown[""]):
        own = _without_children({name: counts[op] for name, counts in unknown.items()})
        # What computes a parametrised weight is done once, not at every inference.
        own = {name: count for name, count in own.items() if count and ".parametrizations." not in f".{name}."}
        where = [name or type(network).__name__ for name in own]
        more = f" and {len(where) - 3} more modules" if len(where) > 3 else ""
        if own:
            found[op] = f"{op} ({sum(own.values())}x, in {', '.join(where[:3])}{more})"
    if found:
        raise UncountedOperator(
            f"no handler counts {'; '.join(found.values())}. Say what it costs where the network is defined, with None "
            f"instead of the function if it is free:\n{how_to_register(min(found))}\n"
            "which is one multiply-accumulate an output value."
        )
