"""The rules of operations that move elements: views, splits, concatenation, shuffles. Labels are moved alike."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.surgery.rules import Call, compact, joined, joined_reason, mixed, register_rule
from bench.surgery.ties import varying

__all__: list[str] = []


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


def _turned(call: Call) -> None:
    """`flip` and `roll`, which put channels where they are not told how many there are."""
    dims = call.arg(2, []) if call.name.endswith("roll") else call.arg(1, [])
    for facet in call.facets(call.x):
        if {d % facet.dim() for d in dims} & set(varying(facet)):
            call.pin(facet, f"its channels change places ({call.name.partition('::')[2]}) in {call.tracer.where}")
    _moved(call)


def _copied(call: Call) -> None:
    """`a.copy_(b)`: a takes b's labels; a part of a tensor that is written to keeps its channels."""
    if call.x._is_view():
        for facet in call.facets(call.args[1]):
            call.pin(facet, f"in {call.tracer.where} it is written into another tensor")
        return
    call.give(call.out, joined(call, [call.args[1]], call.out.shape))


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
            # The places of every part go alike, unless it is the parts' length that the module has written down.
            lengths = [length for _, _, length in call.tracer.lengths()]
            inner = max(sizes)
            blocks = shape[inner] in lengths and not any(shape[d] in lengths for d in sizes if d != inner)
            call.tracer.split(after, strict=True, blocks=blocks)
            parts = " x ".join(str(shape[d]) for d in sizes)
            call.tracer.ties.note(after, f"its channels become {parts} in {call.tracer.where}")
    call.give(call.out, facets)


def _expanded(call: Call) -> None:
    if call.tracer.is_free(call.x):
        call.tracer.set_free(call.out)
    call.give(call.out, [facet.expand(call.out.shape) for facet in call.facets(call.x)])


def _parted(call: Call) -> None:
    """`chunk`, `split`: parts of one size have to lose the same; other sizes are the module's numbers."""
    _moved(call)
    dim = call.arg(2, 0) % call.x.dim()
    sizes = [output.shape[dim] for output in call.outputs]
    for facet in call.facets(call.x):
        if dim not in varying(facet):
            continue
        call.tracer.measure(facet, {dim: call.x.shape[dim]})
        parts = list(facet.split(sizes, dim))
        if len(set(sizes)) == 1:
            call.tracer.split(torch.stack(parts), strict=False)
        if call.name == "aten::split_with_sizes" or len(set(sizes)) > 1:
            _measure_parts(call, parts, dim)
        else:
            call.tracer.measure(compact(parts[0]), {dim: sizes[0]})


def _measure_parts(call: Call, parts: Sequence[Tensor], dim: int) -> None:
    """A module's list of all sizes, or else its numbers one by one."""
    sizes = [part.shape[dim] for part in parts]
    names = dict.fromkeys(name for name, item, _ in call.tracer.lengths() if item is not None)
    whole = [name for name in names if list(getattr(call.tracer.module, name)) == sizes]
    for place, part in enumerate(parts):
        for name in whole:
            call.tracer.measure_as(name, place, part, dim)
        if not whole:
            call.tracer.measure(compact(part), {dim: sizes[place]})


def _sliced(call: Call) -> None:
    """`x[:, a:b]`: as a split where it is one of equal parts; the place may be one of the module's numbers."""
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
    """`x[:, 0]`."""
    _moved(call)
    dim = call.arg(1, 0) % call.x.dim()
    for facet in call.facets(call.x):
        if varying(facet) == (dim,):
            call.pin(facet, f"single channels of it are picked in {call.tracer.where}")


def _indexed(call: Call) -> None:
    """`x[i]` with tensors; along a labelled dimension the places are fixed."""
    for facet in call.facets(call.x):
        for d, index in enumerate(call.args[1]):
            if index is not None and d in varying(facet):
                call.pin(facet, f"its channels are picked by index in {call.tracer.where}")
    _moved(call)


def _embedded(call: Call) -> None:
    weight, indices = call.args[0], call.args[1]
    for facet in call.facets(weight):
        if 0 in varying(facet):
            call.pin(facet, "its rows are looked up by index", silent=True)
    call.give(call.out, [facet[indices] for facet in call.facets(weight) if 0 not in varying(facet)])


def _padded(call: Call) -> None:
    kept = []
    for facet in call.facets(call.x):
        if any(call.out.shape[d] != call.x.shape[d] for d in varying(facet)):
            kept.append(torch.constant_pad_nd(facet, call.args[1], 0))
        else:
            for d in range(facet.dim()):
                facet = facet if d in varying(facet) else facet.narrow(d, 0, min(1, facet.shape[d]))
            kept.append(facet.expand(call.out.shape))
    call.give(call.out, kept)


def _concatenated(call: Call) -> None:
    """`cat` and `stack`: along the dimension labels follow each other, along others they are tied."""
    dim = call.arg(1, 0) % call.out.dim()
    stacks = call.name == "aten::stack"
    tensors = [each for each in call.args[0] if each.numel() or each.dim() == call.out.dim()]
    parts = [[facet.unsqueeze(dim) if stacks else facet for facet in call.facets(each)] for each in tensors]
    found = []
    for other in range(call.out.dim()):
        across = [[facet for facet in facets if other in varying(facet)] for facets in parts]
        if other == dim or not any(across):
            continue
        first = next(facets[0] for facets in across if facets).narrow(dim, 0, 1)
        for facet in (facet for facets in across for facet in facets):
            call.tie(facet, first)
        missing = [t for t, facets in zip(tensors, across, strict=True) if not facets and not call.tracer.is_free(t)]
        if missing:
            call.pin(first, joined_reason(call, missing[0]))
        else:
            found.append(first.expand(call.out.shape))
    along = [next((facet for facet in facets if varying(facet) == (dim,)), None) for facets in parts]
    if any(facet is not None for facet in along):
        lengths = [1 if stacks else each.shape[dim] for each in tensors]
        vectors = [
            torch.zeros(length, dtype=torch.int32) if facet is None else _vector(facet, dim)
            for facet, length in zip(along, lengths, strict=True)
        ]
        shape = [-1 if d == dim else 1 for d in range(call.out.dim())]
        found.append(torch.cat(vectors).view(shape).expand(call.out.shape))
    call.give(call.out, found)


def _vector(facet: Tensor, dim: int) -> Tensor:
    """The labels along a dimension, of a facet that varies along no other."""
    for d in range(facet.dim()):
        facet = facet if d == dim else facet.narrow(d, 0, 1)
    return facet.reshape(-1)


def _pixel_shuffled(call: Call) -> None:
    """Blocks of r x r channels become one."""
    channels, block = call.x.dim() - 3, call.args[1] ** 2
    kept = []
    for facet in call.facets(call.x):
        rest = mixed(call, facet, [-2, -1], "pixel_shuffle mixes its positions")
        if rest is not None and channels in varying(rest):
            parts = rest.unflatten(channels, (-1, block))
            call.tie(parts, parts.narrow(channels + 1, 0, 1))
            rest = parts.select(channels + 1, 0)
            call.tracer.ties.block(
                rest,
                f"PixelShuffle in {call.tracer.where} makes one channel of every {block} of its filters, which go "
                f"together or not at all: they are pruned as blocks where the prunable layers name it",
            )
        if rest is not None:
            kept.append(rest.expand(call.out.shape))
    call.give(call.out, kept)


def _pixel_unshuffled(call: Call) -> None:
    """Each channel becomes r x r."""
    channels, block = call.x.dim() - 3, call.args[1] ** 2
    kept = []
    for facet in call.facets(call.x):
        rest = mixed(call, facet, [-2, -1], "pixel_unshuffle mixes its positions")
        if rest is not None:
            wide = rest.repeat_interleave(block, channels) if channels in varying(rest) else rest
            kept.append(wide.expand(call.out.shape))
    call.give(call.out, kept)


def _shuffled(call: Call) -> None:
    kept = []
    for facet in call.facets(call.x):
        if 1 in varying(facet):
            parts = facet.unflatten(1, (call.args[1], -1))
            call.tracer.split(compact(parts), strict=True)
            facet = parts.transpose(1, 2).flatten(1, 2)
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


def register() -> None:
    """Registers the rules of this module."""
    register_rule(
        """diagonal index_select movedim numpy_T permute repeat repeat_interleave rot90 squeeze swapaxes t tile
        transpose unbind unfold unsqueeze""",
        _moved,
    )
    register_rule("flip roll", _turned)
    register_rule("copy", _copied)
    register_rule("_reshape_alias _unsafe_view flatten reshape unflatten view view_copy", _viewed)
    register_rule("expand", _expanded)
    register_rule("chunk split split_with_sizes", _parted)
    register_rule("narrow slice", _sliced)
    register_rule("select", _selected)
    register_rule("index", _indexed)
    register_rule("embedding", _embedded)
    register_rule("constant_pad_nd", _padded)
    register_rule("cat stack", _concatenated)
    register_rule("pixel_shuffle", _pixel_shuffled)
    register_rule("pixel_unshuffle", _pixel_unshuffled)
    register_rule("channel_shuffle native_channel_shuffle", _shuffled)
    register_rule("im2col", _unfolded)


register()
