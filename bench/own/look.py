"""A look at images of a user's own: size and colour, how many there are, whether they fit into memory, their mean.

Nothing is decided here that the user did not leave open; what was found goes into the track file as numbers.
"""

import os
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.base import ImageFiles
from bench.data.own import Parts, decoded
from bench.data.stratify import stratified_draw
from bench.data.streaming import read_image
from bench.errors import DataError, UsageError

__all__ = ["Looked", "channel_statistics", "fits_in_memory", "look", "validation_images"]

_LOOKED = 500  # images whose size and colour are looked at
_MOST_BYTES = 2 * 2**30
_SAMPLE = 2000  # images for mean and deviation where they do not fit into memory


@dataclass(frozen=True)
class Looked:
    """What images are like.

    Attributes:
        size: (height, width) that most have.
        sizes: how many sizes there are.
        grey: whether all are grey.
    """

    size: tuple[int, int]
    sizes: int
    grey: bool


def look(parts: Parts) -> Looked:
    """Opens some hundred images, spread over all classes.

    Raises:
        DataError: one is no image.
    """
    files = parts.train
    step = max(1, len(files.names) // _LOOKED)
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for name in files.names[::step]:
        width, height, mode = _opened(files, name)
        sizes[height, width] += 1
        grey = grey and mode in ("1", "L", "LA", "I;16")
    return Looked(sizes.most_common(1)[0][0], len(sizes), grey)


def parse_size(text: str) -> tuple[int, int]:
    """`48x80`, or `224` for a square, as (height, width).

    Raises:
        UsageError: it is none of these.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 0 < int(side) <= 16384 for side in sides):
        raise UsageError(f"--size {text!r}: write HEIGHTxWIDTH in pixels, such as 48x80.")
    return int(sides[0]), int(sides[-1])


def fits_in_memory(images: int, shape: tuple[int, int, int]) -> bool:
    """Whether the pixels are at most 2 GiB, and a quarter of this machine's memory."""
    channels, height, width = shape
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 4 * _MOST_BYTES
    return images * channels * height * width <= min(_MOST_BYTES, memory // 4)


def validation_images(train: int, classes: int) -> int:
    """How many training images to hold out: a tenth, or up to 200 where that is no more than a fifth."""
    return min(max(round(train / 10), min(round(train / 5), 200), classes), train - classes)


def sampled(files: ImageFiles, shape: tuple[int, int, int], margin: float) -> tuple[Tensor, Tensor]:
    """Pixels, uint8 [N, C, H, W], and labels of up to 2,000 images, each class in proportion."""
    if len(files.names) > _SAMPLE:
        places = sorted(stratified_draw(files.labels.tolist(), _SAMPLE, 0)[0])
        names, sizes = tuple(files.names[p] for p in places), tuple(files.bytes[p] for p in places)
        files = ImageFiles(files.root, names, sizes, files.labels[places], files.read)
    return decoded(files, shape, margin), files.labels


def channel_statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel of uint8 [N, C, H, W], scaled to [0, 1], to 4 places."""
    mean, std = [], []
    values = torch.arange(256, dtype=torch.float64) / 255
    for channel in pixels.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        centre = float(share @ values)
        mean.append(round(centre, 4))
        std.append(round(float(share @ (values - centre) ** 2) ** 0.5, 4))
    if not all(std):
        raise DataError("all images have one colour: their deviation is 0. Look at the images.")
    return tuple(mean), tuple(std)


def _opened(files: ImageFiles, name: str) -> tuple[int, int, str]:
    """Width, height and mode of an image."""
    from PIL import Image

    if files.read is not None:
        image = files.read(name)
        return image.width, image.height, image.mode
    try:
        with Image.open(files.root / name) as opened:
            return opened.width, opened.height, opened.mode
    except Exception:
        read_image(files.root / name)  # raises what says so
        raise
