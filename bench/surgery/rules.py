"""What each operation does to the labels of its inputs: the rules that `bench.surgery.graph` follows.

An operation is one of a few kinds. It moves elements (then it is carried out on the labels as well), joins elements
(labels are tied), mixes along dimensions (labels are tied along them or pinned), or multiplies (rows of one operand
go on, what is summed over is tied). `register_rule` adds an operation.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.surgery.graph import Tracer
from bench.surgery.ties import Factor, Product, varying

__all__ = ["Call", "Rule", "apply_rule", "compact", "joined", "mixed", "register_rule"]


class Call:
    """One operation as it was executed: the tracer, the operation, its arguments and what it returned."""

    def __init__(self, tracer: Tracer, func: Any, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        self.tracer, self.func, self.args, self.kwargs = tracer, func, args, kwargs
        self.outputs = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
        self.name = func.overloadpacket._qualified_op_name
        self.why: str | None = None

    @property
    def out(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.args[0]

    def arg(self, place: int, default: Any = None) -> Any:
        """An argument that may have been left out."""
        return self.args[place] if len(self.args) > place else default

    def facets(self, tensor: Any) -> list[Tensor]:
        """A tensor's facets."""
        return self.tracer.facets(tensor)

    def give(self, tensor: Tensor, facets: list[Tensor]) -> None:
        """Gives an output its facets, those without labels left out."""
        kept = [compact(facet) for facet in facets]
        self.tracer.set(tensor, [facet for facet in kept if varying(facet)])

    def pin(self, labels: Tensor, reason: str, silent: bool = False) -> None:
        """These labels stay."""
        self.why = self.why or (None if silent else reason)
        self.tracer.ties.pin(labels, reason, silent)

    def tie(self, a: Tensor, b: Tensor) -> None:
        """Ties labels of two tensors that broadcast."""
        self.tracer.ties.tie(a, b, f"in {self.tracer.where}")


_TIED = "it is combined with channels that stay"
Rule = Callable[[Call], None]
_rules: dict[str, Rule] = {}


def register_rule(names: str, rule: Rule) -> None:
    """Follows these operations (names as in `aten::relu`, without `aten::`) by a rule from now on."""
    for name in names.split():
        _rules[name if "::" in name else f"aten::{name}"] = rule


def apply_rule(tracer: Tracer, func: Any, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
    """Gives the outputs of an operation their labels."""
    call = Call(tracer, func, args, kwargs, outputs)
    rule = _rules.get(call.name) or (_rules.get(call.name[:-1]) if call.name.endswith("_") else None)
    if rule is not None:
        try:
            rule(call)
            _hand_on_why(call)
            return
        except Exception as error:  # a form of the operation that the rule does not expect: as if there were none
            tracer.failures.append(f"{call.name}: {type(error).__name__}: {error}")
    inputs = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    if any(tracer.facets(each) for each in inputs):
        tracer.unknown.setdefault(call.name, tracer.where)
    for each in inputs:
        for facet in tracer.facets(each):
            call.pin(facet, f"it goes through {call.name} in {tracer.where}, which cannot be followed")
    for output in call.outputs:
        if isinstance(output, Tensor):
            tracer.set(output, [])


def _hand_on_why(call: Call) -> None:
    """Outputs without labels remember why the labels of an input had to stay."""
    why = call.why
    if why is None:
        inputs = torch.utils._pytree.tree_leaves(call.args)
        why = next((w for each in inputs if isinstance(each, Tensor) and (w := call.tracer.why(each))), None)
    for output in call.outputs:
        if isinstance(output, Tensor) and why is not None and not call.facets(output):
            call.tracer.set_why(output, why)


def compact(facet: Tensor) -> Tensor:
    """The same labels with stride 0 along every dimension where they do not differ."""
    varies = set(varying(facet))
    base = facet
    for d in range(facet.dim()):
        if d not in varies and facet.shape[d] > 1:
            base = base.narrow(d, 0, 1)
    for d in sorted(varies):
        first = base.narrow(d, 0, 1)
        if bool((base == first).all()):
            base = first
    if not varying(base):
        return base.new_zeros(()).expand(facet.shape)
    return base.expand(facet.shape)


def mixed(call: Call, facet: Tensor, dims: Sequence[int], reason: str | None) -> Tensor | None:
    """What is left of a facet after an operation across `dims`; length 1 along them.

    Labels that also differ along other dimensions are tied along `dims`; others are pinned with the reason (None:
    they end here, as in a sum), and nothing is left.
    """
    dims = [d % facet.dim() for d in dims]
    across = [d for d in varying(facet) if d in dims]
    if across and len(across) == len(varying(facet)):
        if reason is not None:
            call.pin(facet, reason)
        return None
    for d in dims:
        first = facet.narrow(d, 0, 1)
        if d in across:
            call.tie(facet, first)
        facet = first
    return facet


def joined(call: Call, tensors: Sequence[Tensor], shape: Sequence[int]) -> list[Tensor]:
    """The facets of what tensors give element by element: labels at one place are tied.

    A facet that meets an operand of full length without labels along it is pinned, unless `forward` made that
    operand from nothing.
    """
    found: list[Tensor] = []
    for tensor in tensors:
        for facet in call.facets(tensor):
            wide = facet.expand(shape)
            for other in found:
                if set(varying(wide)) & set(varying(other)):
                    call.tie(wide, other)
                    break
            else:
                found.append(wide)
    kept = []
    for facet in found:
        alone = [t for t in tensors if not call.tracer.is_free(t) and _is_full_without_labels(call, t, facet)]
        if alone:
            call.pin(facet, _joined_reason(call, alone[0]))
        else:
            kept.append(facet)
    return kept


def _joined_reason(call: Call, other: Tensor) -> str:
    name, why = call.tracer.origin(other), call.tracer.why(other)
    if why is not None:
        return why if why.startswith(_TIED) else f"{_TIED} in {call.tracer.where}: {why}"
    what = f"with {name}" if name else "with a tensor that has no channels of the network's layers"
    return f"in {call.tracer.where} it is combined {what}, whose size does not follow"


def _is_full_without_labels(call: Call, tensor: Tensor, facet: Tensor) -> bool:
    """Whether a tensor is as long as the facet along its dimensions, and has no labels along any of them."""
    offset = facet.dim() - tensor.dim()
    dims = [d - offset for d in varying(facet) if d >= offset and tensor.shape[d - offset] > 1]
    own = {d for each in call.facets(tensor) for d in varying(each)}
    return bool(dims) and not own & set(dims)


# rules by kind


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


def _made(call: Call) -> None:
    for output in call.outputs:
        call.tracer.set_free(output)


def _copied(call: Call) -> None:
    """`a.copy_(b)`: a takes b's labels."""
    call.give(call.out, joined(call, [call.args[1]], call.out.shape))
    for facet in call.facets(call.args[1]):
        if call.x._is_view() if hasattr(call.x, "_is_view") else False:
            call.pin(facet, f"in {call.tracer.where} it is written into another tensor")


def _moved(call: Call) -> None:
    """Elements change places: the operation is carried out on the labels."""
    if call.tracer.is_free(call.x):
        for output in call.outputs:
            call.tracer.set_free(output)
    found: list[list[Tensor]] = [[] for _ in call.outputs]
    for facet in call.facets(call.x):
        moved = call.func(facet, *call.args[1:], **call.kwargs)
        for place, each in enumerate(moved if isinstance(moved, tuple | list) else [moved]):
            found[place].append(each)
    for output, facets in zip(call.outputs, found, strict=True):
        call.give(output, facets)


def _flipped(call: Call) -> None:
    _moved(call)
    dims = call.arg(2, []) if call.name.endswith("roll") else call.arg(1, [])
    for facet in call.facets(call.x):
        if {d % facet.dim() for d in dims} & set(varying(facet)):
            call.pin(facet, f"its channels are moved ({call.name.partition('::')[2]}) in {call.tracer.where}")


def _viewed(call: Call) -> None:
    """A new shape: a dimension that is split has to lose the same of every part."""
    if call.tracer.is_free(call.x):
        call.tracer.set_free(call.out)
    shape = call.out.shape
    facets = [compact(facet.reshape(shape)) for facet in call.facets(call.x)]
    for before, after in zip(call.facets(call.x), facets, strict=True):
        sizes = {d: shape[d] for d in varying(after)}
        call.tracer.measure(before, {d: call.x.shape[d] for d in varying(before)})
        call.tracer.measure(after, sizes)
        if len(sizes) > len(varying(before)):
            inner = shape[max(sizes)]
            lengths = [length for _, _, length in call.tracer.lengths()]
            blocks = inner in lengths and not any(shape[d] in lengths for d in sizes if d != max(sizes))
            call.tracer.split(after, strict=True, blocks=blocks)
    call.give(call.out, facets)


def _parted(call: Call) -> None:
    """`chunk`, `split`, `unbind`: parts of one size have to lose the same; other sizes are the module's numbers."""
    _moved(call)
    dim = call.arg(1, 0) if call.name == "aten::unbind" else call.arg(2, 0)
    dim %= call.x.dim()
    parts = [output for output in call.outputs if isinstance(output, Tensor)]
    for facet in call.facets(call.x):
        if dim not in varying(facet):
            continue
        if call.name == "aten::unbind":
            continue
        call.tracer.measure(facet, {dim: call.x.shape[dim]})
        sizes = [part.shape[dim] for part in parts]
        pieces = list(facet.split(sizes, dim))
        if len(set(sizes)) == 1:
            call.tracer.split(torch.stack(pieces), strict=False)
        if call.name == "aten::split_with_sizes" or len(set(sizes)) > 1:
            _measure_parts(call, pieces, dim)
        else:
            call.tracer.measure(compact(pieces[0]), {dim: sizes[0]})


def _measure_parts(call: Call, pieces: Sequence[Tensor], dim: int) -> None:
    """A module's list of all sizes, or else its numbers one by one."""
    sizes = [piece.shape[dim] for piece in pieces]
    listed: dict[str, list[int]] = {}
    for name, item, _length in call.tracer.lengths():
        if item is not None:
            listed.setdefault(name, list(getattr(call.tracer.module, name)))
    whole = [name for name, values in listed.items() if values == sizes]
    for place, piece in enumerate(pieces):
        if whole:
            for name in whole:
                call.tracer.measure_as(name, place, piece, dim)
        else:
            call.tracer.measure(compact(piece), {dim: sizes[place]})


def _sliced(call: Call) -> None:
    _moved(call)
    dim, start = call.arg(1, 0) % call.x.dim(), call.arg(2) or 0
    size, length = call.x.shape[dim], call.out.shape[dim]
    start = max(0, start + size) if start < 0 else start
    for facet in call.facets(call.x):
        if dim not in varying(facet) or length in (0, size) or call.arg(4, 1) != 1:
            continue
        if size % length == 0 and start % length == 0:
            call.tracer.split(torch.stack(facet.split(length, dim)), strict=False)
        for end in {start, start + length} - {0, size}:
            call.tracer.measure(compact(facet.narrow(dim, 0, end)), {dim: end})
        call.tracer.measure(compact(facet.narrow(dim, start, length)), {dim: length})
        call.tracer.ties.note(facet, f"its channels are cut at a fixed place in {call.tracer.where}")


def _selected(call: Call) -> None:
    _moved(call)
    dim = call.arg(1, 0) % call.x.dim()
    for facet in call.facets(call.x):
        if varying(facet) == (dim,):
            call.pin(facet, f"single channels of it are picked in {call.tracer.where}")


def _indexed(call: Call) -> None:
    """`x[i]` with tensors; along a labelled dimension the places are fixed."""
    indices = call.args[1]
    for facet in call.facets(call.x):
        for d, index in enumerate(indices):
            if index is not None and d in varying(facet):
                call.pin(facet, f"its channels are picked by index in {call.tracer.where}")
    _moved(call)


def _embedded(call: Call) -> None:
    weight, indices = call.args[0], call.args[1]
    facets = call.facets(weight)
    for facet in facets:
        if 0 in varying(facet):
            call.pin(facet, "its rows are looked up by index", silent=True)
    call.give(call.out, [facet[indices] for facet in facets if 0 not in varying(facet)])


def _padded(call: Call) -> None:
    if call.name == "aten::constant_pad_nd" and any(
        call.out.shape[d] != call.x.shape[d] for f in call.facets(call.x) for d in varying(f)
    ):
        call.give(call.out, [torch.constant_pad_nd(facet, call.args[1], 0) for facet in call.facets(call.x)])
    else:
        _spatial(call)


def _spatial(call: Call) -> None:
    """Pooling, resizing, spatial padding: across the dimensions from the third on, channel by channel."""
    if call.tracer.is_free(call.x):
        call.tracer.set_free(call.out)
    kept = []
    for facet in call.facets(call.x):
        if all(call.out.shape[d] == call.x.shape[d] for d in varying(facet) if call.out.dim() == call.x.dim()):
            pass
        rest = mixed(call, facet, range(min(2, facet.dim() - 1), facet.dim()), f"{call.name} mixes it in {call.tracer.where}")
        if rest is not None:
            kept.append(rest)
    for output in call.outputs:
        call.give(output, [rest.expand(output.shape) for rest in kept])


def _reduced(call: Call) -> None:
    """Sums, means, extremes over dimensions."""
    kind = call.name.partition("::")[2]
    dims = call.arg(2) if kind in ("linalg_vector_norm", "norm") else call.arg(1)
    if kind in ("var", "std") and isinstance(dims, bool):
        dims = None
    dims = list(range(call.x.dim())) if dims is None or dims == [] else [dims] if isinstance(dims, int) else list(dims)
    dims = [d % max(1, call.x.dim()) for d in dims]
    ends = kind in ("sum", "nansum", "amax", "amin", "max", "min", "any", "linalg_vector_norm", "norm")
    reason = None if ends else f"{kind} over its channels in {call.tracer.where}: removing them is not the same as zeroing them"
    kept = []
    for facet in call.facets(call.x):
        rest = mixed(call, facet, dims, reason)
        if rest is None:
            call.tracer.ties.note(facet, f"{kind} over its channels in {call.tracer.where}")
        else:
            kept.append(rest)
    for output in call.outputs:
        if output.dim() == call.x.dim():
            call.give(output, [rest.expand(output.shape) for rest in kept])
        else:
            squeezed = [rest.squeeze(tuple(dims)) for rest in kept]
            call.give(output, [each.expand(output.shape) for each in squeezed])


def _along(call: Call) -> None:
    """Softmax, cumulative sums, sorting along one dimension, which keep the shape."""
    dim = call.arg(1, -1)
    kind = call.name.partition("::")[2].strip("_").replace("safe_", "")
    kept = []
    for facet in call.facets(call.x):
        rest = mixed(call, facet, [dim], f"{kind} across its channels in {call.tracer.where}: removing them is not the same as zeroing them")
        if rest is not None:
            kept.append(rest.expand(call.x.shape))
    for output in call.outputs:
        if isinstance(output, Tensor) and output.shape == call.x.shape:
            call.give(output, kept)


def _concatenated(call: Call) -> None:
    stacks = call.name == "aten::stack"
    tensors = [each for each in call.args[0] if each.dim() == 1 and each.numel() == 0 or each.numel()]
    dim = call.arg(1, 0) % call.out.dim()
    parts = [[facet.unsqueeze(dim) if stacks else facet for facet in call.facets(each)] for each in tensors]
    shapes = [each.unsqueeze(dim).shape if stacks else each.shape for each in tensors]
    found: list[Tensor] = []
    for other in range(call.out.dim()):
        if other == dim or call.out.shape[other] == 1:
            continue
        across = [[f for f in facets if other in varying(f)] for facets in parts]
        if not any(across):
            continue
        first = next(facets[0] for facets in across if facets).narrow(dim, 0, 1)
        for facets in across:
            for facet in facets:
                call.tie(facet, first)
        missing = [t for t, facets in zip(tensors, across, strict=True) if not facets and not call.tracer.is_free(t)]
        if missing:
            call.pin(first, _joined_reason(call, missing[0]))
        else:
            found.append(first.expand(call.out.shape))
    along = [[f for f in facets if varying(f) == (dim,)] for facets in parts]
    if any(along):
        pieces = [
            facets[0] if facets else torch.zeros(shape, dtype=torch.int32) for facets, shape in zip(along, shapes, strict=True)
        ]
        pieces = [piece.narrow(d, 0, 1) if False else piece for piece in pieces for d in (0,)]
        thin = []
        for piece in pieces:
            for d in range(piece.dim()):
                if d != dim and piece.shape[d] > 1:
                    piece = piece.narrow(d, 0, 1)
            thin.append(piece)
        found.append(torch.cat(thin, dim).expand(call.out.shape))
    call.give(call.out, found)


def _expanded(call: Call) -> None:
    if call.tracer.is_free(call.x):
        call.tracer.set_free(call.out)
    call.give(call.out, [facet.expand(call.out.shape) for facet in call.facets(call.x)])


def _pixel_shuffled(call: Call) -> None:
    """Blocks of r x r channels become one."""
    block = call.args[1] ** 2
    kept = []
    for facet in call.facets(call.x):
        channels = facet.dim() - 3
        rest = mixed(call, facet, [channels + 1, channels + 2], "pixel_shuffle mixes its positions")
        if rest is not None and channels in varying(rest):
            parts = rest.unflatten(channels, (-1, block))
            call.tie(parts, parts.narrow(channels + 1, 0, 1))
            rest = parts.select(channels + 1, 0)
        if rest is not None:
            kept.append(rest.expand(call.out.shape))
    call.give(call.out, kept)


def _pixel_unshuffled(call: Call) -> None:
    block = call.args[1] ** 2
    kept = []
    for facet in call.facets(call.x):
        channels = facet.dim() - 3
        rest = mixed(call, facet, [channels + 1, channels + 2], "pixel_unshuffle mixes its positions")
        if rest is not None:
            wide = rest.repeat_interleave(block, channels) if channels in varying(rest) else rest
            kept.append(wide.expand(call.out.shape))
    call.give(call.out, kept)


def _shuffled(call: Call) -> None:
    parts = call.args[1]
    kept = []
    for facet in call.facets(call.x):
        if 1 in varying(facet):
            split = facet.unflatten(1, (parts, -1))
            call.tracer.split(compact(split), strict=True)
            facet = split.transpose(1, 2).flatten(1, 2)
        kept.append(facet)
    call.give(call.out, kept)


def _unfolded(call: Call) -> None:
    """`im2col`: each channel becomes as many as the kernel has places."""
    kept = []
    for facet in call.facets(call.x):
        rest = mixed(call, facet, [2, 3], "unfold mixes its positions")
        if rest is not None and 1 in varying(rest):
            places = call.out.shape[1] // call.x.shape[1]
            kept.append(rest[:, :, :, 0].repeat_interleave(places, 1).expand(call.out.shape))
    call.give(call.out, kept)


register_rule(
    """abs acos add addcdiv addcmul asin atan atan2 bernoulli bitwise_and bitwise_not bitwise_or ceil celu clamp
    clamp_max clamp_min clip cos cosh div elu eq erf erfc exp expm1 floor floor_divide fmod frac ge gelu gt hardshrink
    hardsigmoid hardswish hardtanh isfinite isinf isnan le leaky_relu lerp log log10 log1p log2 log_sigmoid_forward
    logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum mish mul nan_to_num ne neg
    polar pow reciprocal relu relu6 remainder round rrelu rrelu_with_noise rsqrt rsub selu sgn sigmoid sign silu sin sinh
    softplus softshrink sqrt square sub tan tanh threshold trunc where xlogy _prelu_kernel prelu special_erf
    special_expit special_log1p native_dropout zero fill""",
    _pointwise,
)
register_rule(
    """alias detach clone contiguous _to_copy to lift_fresh lift lift_fresh_copy dropout alpha_dropout feature_dropout
    zeros_like ones_like full_like rand_like randn_like empty_like _conj _reshape_copy positive real""",
    _same,
)
register_rule(
    """empty zeros ones full arange linspace eye rand randn randint randperm scalar_tensor new_empty new_zeros new_ones
    new_full empty_strided new_empty_strided normal uniform empty_permuted tril_indices triu_indices hann_window""",
    _made,
)
register_rule("copy", _copied)
register_rule(
    """permute transpose t numpy_T unsqueeze squeeze repeat diagonal rot90 swapaxes movedim tile unfold
    repeat_interleave index_select""",
    _moved,
)
register_rule("flip roll", _flipped)
register_rule("view _unsafe_view reshape _reshape_alias view_copy unflatten flatten", _viewed)
register_rule("split split_with_sizes unbind chunk", _parted)
register_rule("slice narrow", _sliced)
register_rule("select", _selected)
register_rule("index", _indexed)
register_rule("embedding", _embedded)
register_rule(
    """constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d""",
    _padded,
)
register_rule(
    """avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices
    max_pool3d_with_indices _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_max_pool2d adaptive_max_pool3d mkldnn_max_pool2d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_bilinear2d upsample_bicubic2d upsample_linear1d upsample_trilinear3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d
    grid_sampler_3d max_unpool2d max_unpool3d""",
    _spatial,
)
register_rule("mean sum amax amin var std prod any all argmax argmin logsumexp linalg_vector_norm norm nansum", _reduced)
register_rule("max min var_mean std_mean median", _reduced)
register_rule("_softmax _log_softmax _safe_softmax softmax log_softmax cumsum cumprod sort", _along)
register_rule("cat stack", _concatenated)
register_rule("expand", _expanded)
register_rule("pixel_shuffle", _pixel_shuffled)
register_rule("pixel_unshuffle", _pixel_unshuffled)
register_rule("channel_shuffle native_channel_shuffle", _shuffled)
register_rule("im2col", _unfolded)


def factor(length: int, labels: Tensor | None) -> Factor:
    """A dimension of a product."""
    return Factor(length, None if labels is None else labels.reshape(-1).numpy().astype("int64"))


def charge(call: Call, constant: int, *factors: Factor) -> None:
    """Records what a product costs, where the run is counted."""
    if call.tracer.counting:
        changing = tuple(each for each in factors if each.labels is not None)
        for each in factors:
            constant *= each.length if each.labels is None else 1
        call.tracer.ties.products.append(Product(constant, changing))
