"""The rules of what has weights or sums of products: convolutions, matrix products, normalisations.

Rows of a weight become the output's channels; columns are tied to the input's channels. Each product's cost is kept
as a function of the lengths of its dimensions, so that it follows the widths exactly, with or without weights.
"""

from torch import Tensor

from bench.surgery.rules import Call, compact, joined, mixed, register_rule
from bench.surgery.ties import Factor, Product, varying

__all__: list[str] = []

_INPUT = "it reads the network's input"


def _row_facets(call: Call, weight: Tensor, dim: int) -> Tensor | None:
    """The labels [length] of a weight along one dimension, tied along all others; None without labels."""
    for facet in call.facets(weight):
        if dim in varying(facet):
            rest = mixed(call, facet, [d for d in range(facet.dim()) if d != dim], None)
            if rest is not None:
                return rest.reshape(-1)
    return None


def _factor(length: int, labels: Tensor | None) -> Factor:
    """A dimension of a product."""
    return Factor(length, None if labels is None else labels.reshape(-1).numpy().astype("int64"))


def _charge(call: Call, constant: int, *factors: Factor) -> None:
    """Records what a product costs, where the run is counted."""
    if call.tracer.counting:
        for each in factors:
            constant *= each.length if each.labels is None else 1
        changing = tuple(each for each in factors if each.labels is not None)
        call.tracer.ties.products.append(Product(constant, changing))


def _convolution(call: Call) -> None:
    x, weight, bias = call.args[:3]
    transposed, groups = call.args[6], call.args[8]
    x_dim = x.dim() - weight.dim() + 2  # 1 with a batch
    channel_dim = x_dim - 1
    row_dim = 1 if transposed else 0
    rows, columns = _row_facets(call, weight, row_dim), _row_facets(call, weight, 1 - row_dim)
    channels, batch = _inputs(call, channel_dim)
    inputs, outputs = x.shape[channel_dim], call.out.shape[channel_dim]
    if groups > 1 and groups in (inputs, outputs):
        given = _whole_groups(call, channels, rows, columns, transposed, outputs // groups)
    elif transposed:  # [in, out / groups, ...]: the groups share the rows
        _tie_inputs(call, channels, columns)
        if columns is not None and groups > 1:
            _tie_parts(call, columns, groups)
        given = None if rows is None else rows.repeat(groups)
    else:  # [out, in / groups, ...]: the groups share the columns
        _tie_inputs(call, None if channels is None else channels.view(groups, -1), columns)
        if rows is not None and groups > 1:
            _tie_parts(call, rows, groups)
        given = rows
    if given is not None and bias is not None:
        _tie_vector(call, bias, given)
    kept = [] if batch is None else [batch.expand(call.out.shape)]
    if given is not None:
        kept.append(_along(given, channel_dim, call.out))
    call.give(call.out, kept)
    _charge_convolution(call, x, weight, transposed, channel_dim, batch)


def _charge_convolution(
    call: Call, x: Tensor, weight: Tensor, transposed: bool, channel_dim: int, batch: Tensor | None
) -> None:
    positions = 1
    for length in (x if transposed else call.out).shape[channel_dim + 1 :]:
        positions *= length
    for length in weight.shape[2:]:
        positions *= length
    images = x.shape[0] if channel_dim else 1
    first, second = (_row_facets(call, weight, d) for d in (0, 1))
    _charge(
        call,
        positions,
        _factor(images, None if batch is None else batch.select(1, 0).reshape(images, -1)[:, 0]),
        _factor(weight.shape[0], first),
        _factor(weight.shape[1], second),
    )
    call.tracer.applied(second if transposed else first, 2)


def _inputs(call: Call, channel_dim: int) -> tuple[Tensor | None, Tensor | None]:
    """The labels of a convolution's input: by channel [C], and along the batch [N, 1, ...]."""
    channels = batch = None
    for facet in call.facets(call.x):
        if channel_dim in varying(facet):
            others = [d for d in range(facet.dim()) if d != channel_dim]
            call.tracer.measure(facet, {channel_dim: facet.shape[channel_dim]})  # `groups=self.channels`, say
            rest = mixed(call, facet, others, None)
            channels = None if rest is None else rest.reshape(-1)
        elif channel_dim and 0 in varying(facet):
            batch = mixed(call, facet, range(1, facet.dim()), None)
        else:
            call.pin(facet, f"{call.tracer.where} convolves over it")
    return channels, batch


def _whole_groups(
    call: Call, channels: Tensor | None, rows: Tensor | None, columns: Tensor | None, transposed: bool, each_gives: int
) -> Tensor | None:
    """Groups of one input or one output channel go whole: the labels of the output's channels."""
    groups = call.args[8]
    shared, own = (rows, columns) if transposed else (columns, rows)  # `own` is dimension 0, which the groups split
    if shared is not None:
        call.pin(shared, "every group of the convolution has it", silent=True)
    known = [each.view(groups, -1) for each in (own, channels) if each is not None]
    if not known:
        return None
    if channels is None:
        call.pin(known[0], _INPUT, silent=True)
        return None
    for each in known:
        call.tie(each, known[0][:, :1])
    return known[0][:, 0].repeat_interleave(each_gives)


def _tie_parts(call: Call, labels: Tensor, groups: int) -> None:
    """The same share of every group."""
    parts = labels.view(groups, -1)
    call.tie(parts, parts[:1])


def _tie_inputs(call: Call, channels: Tensor | None, columns: Tensor | None) -> None:
    if channels is not None and columns is not None:
        call.tie(channels, columns)
    elif columns is not None:
        call.pin(columns, _INPUT, silent=True)
    elif channels is not None:
        call.pin(channels, f"{call.tracer.where} reads it with weights whose size does not follow")


def _tie_vector(call: Call, vector: Tensor, channels: Tensor) -> None:
    """Ties a bias or scale [C] to its channels; a constant one keeps them."""
    facets = [facet for facet in call.facets(vector) if varying(facet)]
    if facets:
        call.tie(facets[0].reshape(-1), channels)
    elif vector.numel() > 1 and not call.tracer.is_free(vector):
        call.pin(channels, f"in {call.tracer.where} it is combined with a tensor whose size does not follow")


def _along(labels: Tensor, dim: int, out: Tensor) -> Tensor:
    shape = [1] * out.dim()
    shape[dim] = -1
    return labels.view(shape).expand(out.shape)


def _product(call: Call, left: Tensor, right: Tensor, added: Tensor | None = None) -> None:
    """`left` [(b,) n, k] @ `right` [(b,) k, m]: n and m go on, k is tied, b is tied."""
    rows, inner_left, batch_left = _sides(call, left, outer=-2, inner=-1)
    columns, inner_right, batch_right = _sides(call, right, outer=-1, inner=-2)
    for mine, other, tensor, dim in ((inner_left, inner_right, right, -2), (inner_right, inner_left, left, -1)):
        if mine is not None and other is None and tensor.shape[dim] > 1 and not call.tracer.is_free(tensor):
            silent = (
                call.tracer.origin(left) is None and call.tracer.origin(right) is not None and not call.facets(left)
            )
            call.pin(mine, f"{call.tracer.where} multiplies it by a matrix whose size does not follow", silent)
    if inner_left is not None and inner_right is not None:
        call.tie(inner_left, inner_right)
    batch = None
    if left.dim() == 3:
        if batch_left is not None and batch_right is not None:
            call.tie(batch_left, batch_right)
        batch = batch_right if batch_left is None else batch_left
        without = right if batch_right is None else left if batch_left is None else None
        if batch is not None and without is not None and without.shape[0] > 1 and not call.tracer.is_free(without):
            call.pin(batch, f"{call.tracer.where} multiplies it by a matrix whose size does not follow")
            batch = None
    kept = []
    for labels, dim in ((batch, 0), (rows, call.out.dim() - 2), (columns, call.out.dim() - 1)):
        if labels is not None:
            kept.append(_along(labels, dim, call.out))
    if added is not None:
        call.give(call.out, kept)
        kept = joined(call, [call.out, added], call.out.shape)
    call.give(call.out, kept)
    _charge(
        call,
        1,
        _factor(left.shape[0] if left.dim() == 3 else 1, batch),
        _factor(left.shape[-2], rows),
        _factor(left.shape[-1], inner_left if inner_right is None else inner_right),
        _factor(right.shape[-1], columns),
    )
    call.tracer.applied(columns, left.shape[-2])
    call.tracer.applied(rows, right.shape[-1])


def _sides(call: Call, operand: Tensor, outer: int, inner: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Labels of an operand along what goes on, what is summed over, and the batch.

    Where they differ along several, they are tied along all but the first of batch, outer, inner: a head goes whole.
    """
    dims = {"batch": 0 if operand.dim() == 3 else None, "outer": operand.dim() + outer, "inner": operand.dim() + inner}
    found: dict[str, Tensor | None] = {"batch": None, "outer": None, "inner": None}
    for facet in call.facets(operand):
        kind = next((kind for kind, dim in dims.items() if dim is not None and dim in varying(facet)), None)
        if kind is None:
            continue
        rest = mixed(call, facet, [d for d in range(facet.dim()) if d != dims[kind]], None)
        found[kind] = None if rest is None else rest.reshape(-1)
    return found["outer"], found["inner"], found["batch"]


def _mm(call: Call) -> None:
    _product(call, call.args[0], call.args[1])


def _addmm(call: Call) -> None:
    _product(call, call.args[1], call.args[2], call.args[0])


def _vector_product(call: Call) -> None:
    """`mv`, `dot`: as matrices of one column or row."""
    left, right = call.args[0], call.args[1]
    vectors = [_row_facets(call, each, each.dim() - 1) for each in (left, right)]
    known = [each for each in vectors if each is not None]
    if len(known) == 2:
        call.tie(known[0], known[1])
    elif known:
        call.pin(known[0], f"{call.tracer.where} multiplies it by a vector whose size does not follow")
    rows = _row_facets(call, left, 0) if left.dim() == 2 else None
    call.give(call.out, [] if rows is None else [rows])
    _charge(
        call,
        1,
        _factor(left.shape[0] if left.dim() == 2 else 1, rows),
        _factor(left.shape[-1], known[0] if known else None),
    )


def _batch_norm(call: Call) -> None:
    x, parameters = call.args[0], [each for each in call.args[1:5] if isinstance(each, Tensor)]
    named = {each for each in call.args if isinstance(each, bool)}
    training = True in named or not [each for each in call.args[3:5] if isinstance(each, Tensor)]
    call.tracer.values = min(call.tracer.values, x.numel() // (x.shape[0] * x.shape[1]))
    kept = []
    for facet in call.facets(x):
        if 1 not in varying(facet):
            if training:
                call.tracer.ties.standardise(facet)
                call.tracer.ties.note(facet, f"{call.tracer.where} standardises over it")
            kept.append(facet)
            continue
        rest = mixed(call, facet, [d for d in range(facet.dim()) if d != 1], None)
        if rest is None:
            continue
        for each in parameters:
            _tie_vector(call, each, rest.reshape(-1))
        kept.append(rest.expand(x.shape))
    if not any(1 in varying(facet) for facet in kept):
        for each in parameters:
            for facet in call.facets(each):
                call.pin(facet, "it normalises the network's input", silent=True)
    call.give(call.out, kept)


def _layer_norm(call: Call) -> None:
    x, normalized = call.args[0], call.args[1]
    dims = range(x.dim() - len(normalized), x.dim())
    kept = []
    for facet in call.facets(x):
        rest = mixed(
            call,
            facet,
            dims,
            f"{call.tracer.where} normalises over all its channels together, as LayerNorm does: mean and variance are "
            f"not the same without a channel as with a zero",
        )
        if rest is not None:
            kept.append(rest.expand(x.shape))
    for each in call.args[2:4]:
        for facet in call.facets(each):
            call.pin(facet, f"it belongs to the LayerNorm {call.tracer.where}", silent=True)
    call.give(call.out, kept)


def _group_norm(call: Call) -> None:
    x, weight, bias, groups = call.args[0], call.args[1], call.args[2], call.args[6]
    kept = []
    for facet in call.facets(x):
        rest = mixed(call, facet, [d for d in range(facet.dim()) if d != 1], f"{call.tracer.where} normalises over it")
        if rest is None:
            continue
        channels = rest.reshape(-1)
        if groups == 1:
            call.pin(
                channels,
                f"{call.tracer.where} normalises over all its channels together: their mean and variance are not "
                f"the same without a channel as with a zero",
            )
            continue
        parts = channels.view(groups, -1)
        call.tie(parts, parts[:, :1])
        call.tracer.measure_as("num_groups", None, compact(parts), 0)
        call.tracer.measure_as("num_channels", None, channels, 0)
        for each in (weight, bias):
            if isinstance(each, Tensor):
                _tie_vector(call, each, channels)
        kept.append(rest.expand(x.shape))
    if not kept:
        for each in (weight, bias):
            for facet in call.facets(each):
                call.pin(facet, "it belongs to a GroupNorm that stays", silent=True)
    call.give(call.out, kept)


def _weight_norm(call: Call) -> None:
    """`v * g / |v|`, the norm over all dimensions but one: columns go as zeros do, rows with their length g."""
    call.give(call.out, joined(call, call.args[:2], call.out.shape))
    name = call.tracer.origin(call.args[0])
    if name is not None:
        call.tracer.ties.lengthless.add(name)


def register() -> None:
    """Registers the rules of this module."""
    register_rule("convolution _convolution", _convolution)
    register_rule("mm bmm", _mm)
    register_rule("addmm baddbmm", _addmm)
    register_rule("mv dot vdot", _vector_product)
    register_rule(
        """native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_with_update
        cudnn_batch_norm _batch_norm_no_update""",
        _batch_norm,
    )
    register_rule("native_layer_norm rms_norm _fused_rms_norm", _layer_norm)
    register_rule("native_group_norm", _group_norm)
    register_rule("_weight_norm_interface _weight_norm", _weight_norm)


register()
