"""Multiply-accumulates of Fourier transforms, by the convention of FFTW's benchmark.

A complex transform of n values is 5 n log2(n) real operations, one of real values half of that (Frigo and Johnson,
The design and implementation of FFTW3, 2005, and benchFFT's "mflops"); two operations are one multiply-accumulate.
"""

from collections.abc import Callable, Sequence
from math import log2, prod
from typing import Any, Literal

from bench.measure.traced_values import int_of, ints_of, shape_of

__all__ = ["FOURIER"]

Kind = Literal["complex", "real-in", "real-out"]


def _macs(transforms: float, values: int, real: bool) -> int:
    return round(transforms * (1.25 if real else 2.5) * values * log2(values)) if values > 1 else 0


def _real_shape(inputs: Sequence[Any], outputs: Sequence[Any], kind: Kind, axes: Sequence[int]) -> list[int]:
    """The shape of the signal: of the side that is not cut to its non-redundant half."""
    shape = shape_of(outputs[0])
    if kind == "real-in":
        before, half = shape_of(inputs[0])[axes[-1]], shape[axes[-1]]
        asked = ints_of(inputs[1])
        # Cut or padded to an unknown length: the even one of the two that give this half.
        length = asked[-1] if asked else before if before // 2 + 1 == half else 2 * (half - 1)
        shape[axes[-1]] = length
    return shape


def _transform(kind: Kind, default: Sequence[int] | None) -> Callable[[list[Any], list[Any]], int]:
    """A transform with arguments (signal, sizes, dimensions, norm); `default`: the dimensions when none are given."""

    def handler(inputs: list[Any], outputs: list[Any]) -> int:
        rank, sizes = len(shape_of(inputs[0])), ints_of(inputs[1])
        last = list(range(-len(sizes), 0)) if sizes else list(range(-rank, 0))
        axes = ints_of(inputs[2]) or default or last
        shape = _real_shape(inputs, outputs, kind, axes)
        values = prod(shape[axis] for axis in axes)
        return _macs(prod(shape) / values, values, kind != "complex")

    return handler


def _low_level(kind: Kind) -> Callable[[list[Any], list[Any]], int]:
    """`_fft_c2c` and the like, with arguments (signal, dimensions, norm, ...)."""

    def handler(inputs: list[Any], outputs: list[Any]) -> int:
        axes = ints_of(inputs[1]) or [-1]
        shape = shape_of(inputs[0] if kind == "real-in" else outputs[0])
        values = prod(shape[axis] for axis in axes)
        return _macs(prod(shape) / values, values, kind != "complex")

    return handler


def _short_time(windowed: int) -> Callable[[list[Any], list[Any]], int]:
    """One transform a window; `windowed` says whether the spectrum is the input (0: istft) or the output (1: stft)."""

    def handler(inputs: list[Any], outputs: list[Any]) -> int:
        spectrum = (inputs, outputs)[windowed][0]
        shape = shape_of(spectrum)
        if not spectrum.type().dtype().is_complex:
            shape = shape[:-1]  # real and imaginary parts apart
        values = int_of(inputs[1])
        values = 2 * (shape[-2] - 1) if values is None else values
        return _macs(prod(shape) / shape[-2], values, real=shape[-2] == values // 2 + 1)

    return handler


_KINDS: dict[str, Kind] = {
    "fft": "complex",
    "ifft": "complex",
    "rfft": "real-in",
    "irfft": "real-out",
    "hfft": "real-out",  # a Hermitian signal has a real spectrum
    "ihfft": "real-in",
}
_SIZES: dict[str, Sequence[int] | None] = {"": (-1,), "2": (-2, -1), "n": None}

FOURIER: dict[str, Callable[[list[Any], list[Any]], int]] = {
    f"aten::fft_{name}{size}": _transform(kind, axes) for name, kind in _KINDS.items() for size, axes in _SIZES.items()
} | {
    "aten::_fft_c2c": _low_level("complex"),
    "aten::_fft_r2c": _low_level("real-in"),
    "aten::_fft_c2r": _low_level("real-out"),
    "aten::stft": _short_time(1),
    "aten::istft": _short_time(0),
}
