"""Which test images a network got right, from a record: without torch, which the page has no other use for."""

import base64

import numpy as np
from numpy.typing import NDArray

from bench.records.record import Measured

__all__ = ["Bits", "checked_bits", "correct_bits", "images_of"]

Bits = NDArray[np.bool_]


def images_of(measured: Measured) -> int | None:
    """How many test images there were; None where the record's bits do not say it, or contradict its accuracy.

    A record holds bits by the byte and the accuracy, correct / images, which fix the number of images together.
    """
    packed = _packed(measured)
    if packed is None or measured.top1_test <= 0:
        return None
    images = round(int(np.unpackbits(packed).sum()) / measured.top1_test)
    return images if images and (images + 7) // 8 == len(packed) else None


def correct_bits(measured: Measured, images: int) -> NDArray[np.uint8] | None:
    """`[images]`, 1 where top 1 is right; None where the record has no such bits, or those of another number."""
    packed = _packed(measured)
    if packed is None or (images + 7) // 8 != len(packed):
        return None
    return np.unpackbits(packed, count=images)


def checked_bits(measured: Measured) -> Bits | None:
    """Whether each test image is right, `[images]`; None where the record has no bits.

    Raises:
        ValueError: the bits cannot be read, or do not give `top1_test`.
    """
    if not measured.correct_test:
        return None
    bits = np.unpackbits(_decoded(measured))
    count = int(bits.sum())
    for images in range(len(bits), max(len(bits) - 8, 0), -1):
        if not bits[images:].any() and abs(count / images - measured.top1_test) < 1e-9:
            return bits[:images].astype(bool)
    raise ValueError(f"{count} of about {len(bits)} correct bits do not give a top1_test of {measured.top1_test:g}")


def _packed(measured: Measured) -> NDArray[np.uint8] | None:
    """The bits as they are stored; None where there are none that can be read."""
    try:
        packed = _decoded(measured)
    except ValueError:
        return None
    return packed if len(packed) else None


def _decoded(measured: Measured) -> NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(measured.correct_test, validate=True), dtype=np.uint8)
