"""What each operator of a traced network costs in multiply-accumulates, for `bench.measure.macs`.

An operator either has a handler here, is on the list of free ones, or is unknown. A handler is fvcore's: a
function of the lists of a node's input and output `torch._C.Value`s that returns the operator's MACs. Most
are written from the output's shape, so that broadcast operands count in full, which fvcore's own do not.
"""

import string
from collections.abc import Callable
from math import prod
from typing import Any

from fvcore.nn.jit_handles import einsum_flop_jit, get_shape

from bench.errors import UncountedOperator

__all__ = ["Handler", "handlers", "register_handler"]

Handler = Callable[[list[Any], list[Any]], int]


def shape_of(value: Any) -> list[int]:
    """The shape of a tensor in the trace.

    Raises:
        UncountedOperator: the trace does not know it.
    """
    shape = get_shape(value)
    if shape is None:
        raise UncountedOperator(
            f"the trace has no shape for an input of {value.node().kind()}. Register a handler for it with "
            "bench.measure.operators.register_handler."
        )
    return list(shape)


def _convolution(inputs: list[Any], outputs: list[Any]) -> int:
    """Every weight is used at every output position (input position, if transposed)."""
    x, weight, out = shape_of(inputs[0]), shape_of(inputs[1]), shape_of(outputs[0])
    # `aten::_convolution_mode` (padding="same") has no such input and is never transposed.
    transposed = len(inputs) > 7 and inputs[6].toIValue()
    spatial = len(weight) - 2
    positions = prod((x if transposed else out)[-spatial:])
    images = x[0] if len(x) == len(weight) else 1
    return images * positions * prod(weight)


def _product(left: int) -> Handler:
    """A matrix product whose left operand is input `left`: outputs x the length that is summed over."""

    def handler(inputs: list[Any], outputs: list[Any]) -> int:
        return prod(shape_of(outputs[0])) * shape_of(inputs[left])[-1]

    return handler


def _addbmm(inputs: list[Any], outputs: list[Any]) -> int:
    """`sum_b left[b] @ right[b]`: a batched product whose batch is summed away."""
    return prod(shape_of(inputs[1])) * shape_of(inputs[2])[-1]


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """QK^T and AV. A causal mask is not a saving: fvcore's unfused count of the same network is the same."""
    query, key, value = (shape_of(v) for v in inputs[:3])
    return prod(shape_of(outputs[0])[:-1]) * key[-2] * (query[-1] + value[-1])


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    """Two operands: the extents of all indices, multiplied. One: nothing. More: fvcore's count."""
    shapes = [shape_of(v) for v in inputs[1].node().inputs()]
    if len(shapes) == 1:
        return 0
    if len(shapes) > 2:
        return int(einsum_flop_jit(inputs, outputs))
    equation = inputs[0].toIValue().replace(" ", "")
    terms, _, result = equation.partition("->")
    left, right = terms.split(",")
    if "->" not in equation:
        result = "".join(c for c in string.ascii_letters if (left + right).count(c) == 1)
    extents: dict[str, int] = {}
    for term, shape in zip((left, right), shapes, strict=True):
        head, dots, tail = term.partition("...")
        for letter, extent in zip(head, shape, strict=False):
            extents[letter] = max(extent, extents.get(letter, 1))
        for letter, extent in zip(reversed(tail), reversed(shape), strict=False):
            extents[letter] = max(extent, extents.get(letter, 1))
        batch = shape[len(head) : len(shape) - len(tail)] if dots else []
        for place, extent in enumerate(reversed(batch)):
            extents[f"...{place}"] = max(extent, extents.get(f"...{place}", 1))
    # An index of one operand that the result lacks is summed before the product.
    shared = {k for k in extents if k.startswith("...") or k in result or (k in left and k in right)}
    return prod(extents[k] for k in shared)


COSTLY: dict[str, Handler] = {
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _convolution,
    "aten::linear": _product(0),
    "aten::matmul": _product(0),
    "aten::mm": _product(0),
    "aten::bmm": _product(0),
    "aten::mv": _product(0),
    "aten::dot": _product(0),
    "aten::addmm": _product(1),
    "aten::addmv": _product(1),
    "aten::baddbmm": _product(1),
    "aten::addbmm": _addbmm,
    "aten::einsum": _einsum,
    "aten::scaled_dot_product_attention": _attention,
}

FREE_OPERATORS = """
    __and__ __not__ __or__ __xor__ abs acos add addcdiv addcmul alias all alpha_dropout amax amin any arange
    argmax argmin argsort as_strided asin atan atan2 bernoulli bitwise_and bitwise_not bitwise_or Bool
    broadcast_tensors broadcast_to bucketize cat ceil celu channel_shuffle chunk clamp clamp_max clamp_min
    clone col2im complex concat constant_pad_nd contiguous copy cos cosh cosine_similarity count_nonzero
    cummax cumprod cumsum detach diag diag_embed diagonal diff div dropout dropout2d elu embedding empty
    empty_like eq erf exp expand expand_as expm1 eye feature_dropout fill flatten flip Float FloatImplicit
    floor floor_divide fmod frac full full_like gather ge gelu glu gt hann_window hardshrink hardsigmoid
    hardswish hardtanh im2col index index_add index_copy index_fill index_put index_select Int IntImplicit
    is_nonzero isfinite isinf isnan item kthvalue le leaky_relu len lerp lift lift_fresh linalg_norm
    linalg_vector_norm linspace log log10 log1p log2 log_sigmoid log_softmax logical_and logical_not
    logical_or logical_xor logit logsumexp lt masked_fill masked_scatter masked_select max maximum mean
    median meshgrid min minimum mish moveaxis movedim mul multinomial nan_to_num narrow ne neg new_empty
    new_full new_ones new_zeros nonzero norm norm_except_dim normal numel numpy_T one_hot ones ones_like
    outer pad permute pixel_shuffle pixel_unshuffle positive pow prelu prod rand rand_like randint randn
    randn_like randperm real reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu relu6
    remainder repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape
    reshape_as resolve_conj resolve_neg rms_norm roll rot90 round rrelu rsqrt rsub scalar_tensor
    ScalarImplicit scatter scatter_add searchsorted select select_scatter selu sigmoid sign silu sin sinh
    size slice slice_scatter softmax softplus softshrink sort split split_with_sizes sqrt square squeeze
    stack std std_mean sub sum swapaxes swapdims t take tan tanh tensor tensor_split threshold tile to topk
    transpose tril triu trunc type_as unbind unflatten unfold uniform unsafe_chunk unsafe_split unsqueeze
    var var_mean view view_as view_as_complex view_as_real where zeros zeros_like

    batch_norm cudnn_batch_norm group_norm instance_norm layer_norm native_batch_norm native_group_norm
    native_layer_norm

    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d
    max_pool2d_with_indices affine_grid_generator grid_sampler upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d
"""


def _free(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


def _refused(kind: str) -> Handler:
    """A handler for a node whose insides the trace does not show."""

    def handler(inputs: list[Any], outputs: list[Any]) -> int:
        raise UncountedOperator(
            f"the network runs scripted code ({kind}), whose operators cannot be counted. Measure it "
            "before torch.jit.script."
        )

    return handler


HIDDEN = ("prim::If", "prim::Loop", "prim::CallMethod", "prim::FusionGroup", "prim::DifferentiableGraph")

_registered: dict[str, Handler] = {}


def register_handler(op: str, handler: Handler | None) -> None:
    """Count the operator `op` with `handler`, from now on and everywhere; None: it is free.

    Args:
        op: the operator as the error names it, e.g. `aten::cdist`.
        handler: its MACs from the lists of its inputs and outputs, which are `torch._C.Value`s
            (`fvcore.nn.jit_handles.get_shape` gives a tensor's shape).
    """
    _registered[op] = handler or _free


def handlers() -> dict[str, Handler]:
    """The handler of every operator that is known, free ones included."""
    names = FREE_OPERATORS.split()
    free = {f"aten::{name}{suffix}": _free for name in names for suffix in ("", "_")}
    hidden = {kind: _refused(kind) for kind in HIDDEN}
    return free | COSTLY | hidden | _registered
