"""Which test images a network got right, from a record: without torch, which the page has no other use for."""

import base64

import numpy as np
from numpy.typing import NDArray

from bench.record import Measured

__all__ = ["correct_bits", "images_of"]


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


def _packed(measured: Measured) -> NDArray[np.uint8] | None:
    try:
        content = base64.b64decode(measured.correct_test, validate=True)
    except ValueError:
        return None
    return np.frombuffer(content, dtype=np.uint8) if content else None
