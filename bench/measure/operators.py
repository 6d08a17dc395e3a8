"""What each operator of a traced network costs in multiply-accumulates, for `bench.measure.macs`.

An operator either has a handler (here, in `products` and in `fourier`), is on the list of free ones (`free_operators`),
or is unknown. A handler is fvcore's: a function of the lists of a node's input and output `torch._C.Value`s that
returns the operator's MACs.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch

from bench.errors import UncountedOperator
from bench.measure.fourier import FOURIER
from bench.measure.free_operators import FREE, FREE_PREFIXES
from bench.measure.products import PRODUCTS
from bench.measure.traced_values import shape_of, shapes_of

__all__ = ["Handler", "handlers", "how_to_register", "register_handler", "shape_of"]

Handler = Callable[[list[Any], list[Any]], int]


def _convolution(inputs: list[Any], outputs: list[Any]) -> int:
    """Every weight is used at every output position (input position, if transposed)."""
    x, weight, out = shape_of(inputs[0]), shape_of(inputs[1]), shape_of(outputs[0])
    # `aten::_convolution_mode` (padding="same") has no such input and is never transposed.
    transposed = len(inputs) > 7 and inputs[6].toIValue()
    spatial = len(weight) - 2
    positions = prod((x if transposed else out)[-spatial:])
    images = x[0] if len(x) == len(weight) else 1
    return images * positions * prod(weight)


def _convolution_time_first(inputs: list[Any], outputs: list[Any]) -> int:
    """`conv_tbc`: outputs [time, batch, channels], weight [kernel, inputs, channels]."""
    return prod(shape_of(outputs[0])[:2]) * prod(shape_of(inputs[1]))


def _deformable_convolution(inputs: list[Any], outputs: list[Any]) -> int:
    """As a plain convolution; sampling its inputs between pixels is free, as in `grid_sample`."""
    out = shape_of(outputs[0])
    return out[0] * prod(out[2:]) * prod(shape_of(inputs[1]))


def _recurrent(inputs: list[Any], outputs: list[Any]) -> int:
    """LSTM, GRU and plain RNN, any layers and directions: every weight of a matrix is used once a step and sequence.

    Steps x sequences are the input's dimensions but the last; of a packed input, its rows. The weights are the last
    list of tensors among the arguments (an LSTM's two states are a list too, and come before).
    """
    lists = [value for value in inputs if value.node().kind() == "prim::ListConstruct"]
    weights = [shape for shape in shapes_of(lists[-1]) if len(shape) == 2]
    return prod(shape_of(inputs[0])[:-1]) * sum(map(prod, weights))


def _recurrent_cell(inputs: list[Any], outputs: list[Any]) -> int:
    """One step: input-to-hidden and hidden-to-hidden weights, for every sequence."""
    state = 3 if inputs[1].node().kind() == "prim::ListConstruct" else 2
    weights = [shape_of(value) for value in inputs[state - 1 : state + 2]]
    return prod(shape_of(inputs[0])[:-1]) * sum(prod(shape) for shape in weights if len(shape) == 2)


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """QK^T and AV, for every query head; keys that heads share (grouped queries) count for each.

    A causal mask is not a saving: fvcore's unfused count of the same network is the same.
    """
    query, key, value = (shape_of(v) for v in inputs[:3])
    return prod(shape_of(outputs[0])[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_time_first(inputs: list[Any], outputs: list[Any]) -> int:
    """The kernels behind it, whose tensors are [batch, length, heads, size]."""
    query, key, value = (shape_of(v) for v in inputs[:3])
    if len(query) != 4:
        raise UncountedOperator("its sequences are packed, so that their lengths are in no shape")
    return prod(query[:-1]) * key[1] * (query[-1] + value[-1])


_LAYERS: dict[str, Handler] = {
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _convolution,
    "aten::convolution": _convolution,
    "aten::mkldnn_convolution": _convolution,
    "aten::conv_tbc": _convolution_time_first,
    "torchvision::deform_conv2d": _deformable_convolution,
    **{f"aten::{name}": _recurrent for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{f"aten::{name}_cell": _recurrent_cell for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    "aten::scaled_dot_product_attention": _attention,
    "aten::_scaled_dot_product_attention_math": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_efficient_attention_forward": _attention_time_first,
    "aten::_flash_attention_forward": _attention_time_first,
}


def _free(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


def _hidden(inputs: list[Any], outputs: list[Any]) -> int:
    """A node whose insides the trace does not show."""
    raise UncountedOperator("it is scripted code, whose operators the trace does not show")


_HIDDEN = ("prim::If", "prim::Loop", "prim::CallMethod", "prim::FusionGroup", "prim::DifferentiableGraph")

_registered: dict[str, Handler] = {}


def register_handler(op: str, handler: Handler | None) -> None:
    """Count the operator `op` with `handler`, from now on and everywhere; None: it is free.

    Call it where the network is defined, so that every process that builds the network knows it.

    Args:
        op: the operator as the error names it, e.g. `aten::linalg_inv`.
        handler: its MACs from the lists of its inputs and outputs, which are `torch._C.Value`s
            (`shape_of` gives a tensor's shape).
    """
    _registered[op] = handler or _free


def how_to_register(op: str) -> str:
    """Two lines that make `op` counted, for an error's text."""
    return (
        "    import math; from bench.measure.operators import register_handler, shape_of\n"
        f'    register_handler("{op}", lambda inputs, outputs: math.prod(shape_of(outputs[0])))'
    )


def handlers() -> dict[str, Handler]:
    """The handler of every operator that is known, free ones included."""
    by_prefix = {
        schema.name: _free for schema in torch._C._jit_get_all_schemas() if schema.name.startswith(FREE_PREFIXES)
    }
    in_place = {f"{name}_": handler for name, handler in PRODUCTS.items()}
    free: dict[str, Handler] = dict.fromkeys(FREE, _free)
    hidden: dict[str, Handler] = dict.fromkeys(_HIDDEN, _hidden)
    return by_prefix | free | in_place | PRODUCTS | FOURIER | _LAYERS | hidden | _registered
