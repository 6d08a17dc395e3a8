"""Multiply-accumulates of matrix products in all their spellings; the convention is `bench.measure.operators`'s.

Most are written from the output's shape, so that broadcast operands count in full, which fvcore's own do not.
"""

import string
from collections.abc import Callable
from math import prod
from typing import Any

from fvcore.nn.jit_handles import einsum_flop_jit

from bench.errors import UncountedOperator
from bench.measure.traced_values import int_of, ints_of, shape_of, shapes_of

__all__ = ["PRODUCTS"]


def _product(left: int) -> Callable[[list[Any], list[Any]], int]:
    """A matrix product whose left operand is input `left`: outputs x the length that is summed over."""

    def handler(inputs: list[Any], outputs: list[Any]) -> int:
        return prod(shape_of(outputs[0])) * shape_of(inputs[left])[-1]

    return handler


def _addbmm(inputs: list[Any], outputs: list[Any]) -> int:
    """`sum_b left[b] @ right[b]`: a batched product whose batch is summed away."""
    return prod(shape_of(inputs[1])) * shape_of(inputs[2])[-1]


def _inner(inputs: list[Any], outputs: list[Any]) -> int:
    """Sums over the last dimension of both; with a scalar it is a plain multiplication, which is free."""
    left, right = shape_of(inputs[0]), shape_of(inputs[1])
    return prod(shape_of(outputs[0])) * left[-1] if left and right else 0


def _vecdot(inputs: list[Any], outputs: list[Any]) -> int:
    left, right = shape_of(inputs[0]), shape_of(inputs[1])
    axis = int_of(inputs[2])
    return prod(shape_of(outputs[0])) * max(left[-1 if axis is None else axis], right[-1 if axis is None else axis])


def _tensordot(inputs: list[Any], outputs: list[Any]) -> int:
    left, right = shape_of(inputs[0]), shape_of(inputs[1])
    axes = list(zip(ints_of(inputs[2]) or [], ints_of(inputs[3]) or [], strict=True))
    return prod(shape_of(outputs[0])) * prod(max(left[a], right[b]) for a, b in axes)


def _chain(inputs: list[Any], outputs: list[Any]) -> int:
    """The cheapest order of multiplying a chain of matrices, which PyTorch takes (Cormen et al., section 15.2)."""
    shapes = shapes_of(inputs[0])
    if len(shapes[0]) == 1:
        shapes[0] = [1, *shapes[0]]
    if len(shapes[-1]) == 1:
        shapes[-1] = [*shapes[-1], 1]
    sides = [shapes[0][0], *(shape[1] for shape in shapes)]
    cheapest = {(first, first): 0 for first in range(len(shapes))}
    for length in range(1, len(shapes)):
        for first in range(len(shapes) - length):
            last = first + length
            cheapest[first, last] = min(
                cheapest[first, cut] + cheapest[cut + 1, last] + sides[first] * sides[cut + 1] * sides[last + 1]
                for cut in range(first, last)
            )
    return cheapest[0, len(shapes) - 1]


def _power(inputs: list[Any], outputs: list[Any]) -> int:
    """Repeated squaring: a product for each binary digit after the first, and one for each further 1."""
    shape, exponent = shape_of(inputs[0]), int_of(inputs[1])
    if exponent is None or exponent < 0:
        raise UncountedOperator("it inverts a matrix, or its exponent is computed while the network runs")
    return prod(shape) * shape[-1] * max(0, exponent.bit_length() + exponent.bit_count() - 2)


def _covariance(inputs: list[Any], outputs: list[Any]) -> int:
    """Rows are variables: every pair of them is a product over the observations."""
    return prod(shape_of(outputs[0])) * shape_of(inputs[0])[-1]


def _bilinear(inputs: list[Any], outputs: list[Any]) -> int:
    """`x1 W_k x2` for every output k: each weight is multiplied and summed once for each row of inputs."""
    return prod(shape_of(outputs[0])[:-1]) * prod(shape_of(inputs[2]))


def _distances(inputs: list[Any], outputs: list[Any]) -> int:
    """Each distance is a sum over the coordinates, whatever its norm."""
    return prod(shape_of(outputs[0])) * shape_of(inputs[0])[-1]


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    """Two operands: the extents of all indices, multiplied. One: nothing. More: fvcore's count."""
    shapes = shapes_of(inputs[1])
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


PRODUCTS: dict[str, Callable[[list[Any], list[Any]], int]] = {
    "aten::linear": _product(0),
    "aten::matmul": _product(0),
    "aten::linalg_matmul": _product(0),
    "aten::mm": _product(0),
    "aten::bmm": _product(0),
    "aten::mv": _product(0),
    "aten::dot": _product(0),
    "aten::vdot": _product(0),
    "aten::addmm": _product(1),
    "aten::_addmm_activation": _product(1),
    "aten::addmv": _product(1),
    "aten::baddbmm": _product(1),
    "aten::addbmm": _addbmm,
    "aten::mkldnn_linear": _product(0),
    "aten::_int_mm": _product(0),
    "aten::_scaled_mm": _product(0),
    "aten::_mixed_dtypes_linear": _product(0),
    "aten::_weight_int8pack_mm": _product(0),
    "aten::_weight_int4pack_mm": _product(0),
    "aten::einsum": _einsum,
    "aten::tensordot": _tensordot,
    "aten::inner": _inner,
    "aten::linalg_vecdot": _vecdot,
    "aten::chain_matmul": _chain,
    "aten::linalg_multi_dot": _chain,
    "aten::matrix_power": _power,
    "aten::linalg_matrix_power": _power,
    "aten::cov": _covariance,
    "aten::corrcoef": _covariance,
    "aten::bilinear": _bilinear,
    "aten::cdist": _distances,
    "aten::_cdist_forward": _distances,
    "aten::_euclidean_dist": _distances,
    "aten::pdist": _distances,
    "aten::_pdist_forward": _distances,
}
"""By operator; the in-place form of each is counted alike."""
