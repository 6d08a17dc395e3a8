"""The rules of operations that join elements, reduce over dimensions or work position by position."""

from torch import Tensor

from bench.surgery.rules import Call, joined, mixed, register_rule

__all__: list[str] = []

_ENDS = ("sum", "nansum", "amax", "amin", "max", "min", "any", "linalg_vector_norm", "norm")
"""Reductions to which a channel of zeros may add nothing; the rehearsal tells."""


def _pointwise(call: Call) -> None:
    tensors = [each for each in call.args if isinstance(each, Tensor)]
    tensors += [each for each in call.kwargs.values() if isinstance(each, Tensor) and each is not call.out]
    call.give(call.out, joined(call, tensors, call.out.shape))
    if tensors and all(call.tracer.is_free(each) for each in tensors):
        call.tracer.set_free(call.out)


def _same(call: Call) -> None:
    """The output has the first input's labels, element by element."""
    for output in call.outputs:
        if isinstance(output, Tensor) and output.shape == call.x.shape:
            call.tracer.set(output, list(call.facets(call.x)))
            if call.tracer.is_free(call.x):
                call.tracer.set_free(output)


def _made(call: Call) -> None:
    """A tensor from nothing, whose shape may follow others'."""
    for output in call.outputs:
        call.tracer.set_free(output)


def _spatial(call: Call) -> None:
    """Pooling, resizing, spatial padding: across the dimensions from the third on, channel by channel."""
    if call.tracer.is_free(call.x):
        call.tracer.set_free(call.out)
    dims = range(min(2, call.x.dim() - 1), call.x.dim())
    kept = [mixed(call, facet, dims, f"{call.name} in {call.tracer.where} mixes it") for facet in call.facets(call.x)]
    for output in call.outputs:
        call.give(output, [rest.expand(output.shape) for rest in kept if rest is not None])


def _reduced(call: Call) -> None:
    """Sums, means, extremes over dimensions."""
    kind = call.name.partition("::")[2]
    if kind in ("max", "min") and isinstance(call.arg(1), Tensor):
        _pointwise(call)  # the larger of two tensors
        return
    dims = call.arg(2) if kind in ("linalg_vector_norm", "norm") else call.arg(1)
    if isinstance(dims, bool) or dims is None or dims == []:
        dims = range(call.x.dim())
    dims = [d % max(1, call.x.dim()) for d in ([dims] if isinstance(dims, int) else dims)]
    reason = None if kind in _ENDS else _not_zeroing(call, f"{kind} over")
    kept = []
    for facet in call.facets(call.x):
        rest = mixed(call, facet, dims, reason)
        if rest is None:
            call.tracer.ties.note(facet, f"{kind} over its channels in {call.tracer.where}")
        else:
            kept.append(rest)
    for output in call.outputs:
        thin = kept if output.dim() == call.x.dim() else [rest.squeeze(tuple(dims)) for rest in kept]
        call.give(output, [rest.expand(output.shape) for rest in thin])


def _along(call: Call) -> None:
    """Softmax, cumulative sums, sorting along one dimension, which keep the shape."""
    kind = call.name.partition("::")[2].strip("_").replace("safe_", "")
    kept = []
    for facet in call.facets(call.x):
        rest = mixed(call, facet, [call.arg(1, -1)], _not_zeroing(call, f"{kind} across"))
        if rest is not None:
            kept.append(rest.expand(call.x.shape))
    for output in call.outputs:
        if isinstance(output, Tensor) and output.shape == call.x.shape:
            call.give(output, kept)


def _gated(call: Call) -> None:
    """`glu`: one half times the sigmoid of the other, place by place."""
    dim = call.arg(1, -1) % call.x.dim()
    kept = []
    for facet in call.facets(call.x):
        left, right = facet.chunk(2, dim)
        call.tie(left, right)
        kept.append(left)
    call.give(call.out, kept)


def _not_zeroing(call: Call, what: str) -> str:
    return f"{what} its channels in {call.tracer.where}: removing them is not the same as zeroing them"


def register() -> None:
    """Registers the rules of this module."""
    register_rule(
        """abs acos add addcdiv addcmul asin atan atan2 bernoulli bitwise_and bitwise_not bitwise_or ceil celu clamp
        clamp_max clamp_min clip cos cosh div elu eq erf erfc exp exp2 expm1 fill floor floor_divide fmax fmin fmod frac
        ge gelu gt hardshrink hardsigmoid hardswish hardtanh hypot isfinite isinf isnan le leaky_relu lerp log log10
        log1p log2 log_sigmoid_forward logaddexp logical_and logical_not logical_or logical_xor logit lt masked_fill
        maximum minimum mish mul nan_to_num native_dropout ne neg polar pow prelu _prelu_kernel reciprocal relu relu6
        remainder round rrelu rrelu_with_noise rsqrt rsub selu sgn sigmoid sign silu sin sinc sinh softplus softshrink
        special_erf special_expit special_log1p sqrt square sub tan tanh threshold trunc where xlogy zero""",
        _pointwise,
    )
    register_rule(
        """_conj _to_copy alias alpha_dropout clone contiguous detach dropout empty_like feature_dropout full_like lift
        lift_fresh lift_fresh_copy ones_like positive rand_like randn_like real to zeros_like""",
        _same,
    )
    register_rule(
        """arange empty empty_permuted empty_strided eye full hann_window linspace new_empty new_empty_strided new_full
        new_ones new_zeros normal ones rand randint randn randperm scalar_tensor tril_indices triu_indices uniform
        zeros""",
        _made,
    )
    register_rule(
        """_adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d adaptive_avg_pool1d
        adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d grid_sampler_2d
        grid_sampler_3d max_pool1d max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d
        max_unpool3d mkldnn_max_pool2d reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
        replication_pad2d replication_pad3d upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
        upsample_nearest2d upsample_nearest3d upsample_trilinear3d""",
        _spatial,
    )
    register_rule(
        """all amax amin any argmax argmin linalg_vector_norm logsumexp max mean median min nansum norm prod std
        std_mean sum var var_mean""",
        _reduced,
    )
    register_rule("_log_softmax _safe_softmax _softmax cumprod cumsum log_softmax softmax sort", _along)
    register_rule("glu", _gated)


register()
