"""Images that stay on the disk: decoded by threads as batches need them, a few batches ahead.

What is drawn at random is drawn before anything is decoded: the order of an epoch, and one seed an image for its
augmentation. The batches are therefore the same, bit by bit, however many threads decode them and wherever an
epoch is taken up. Threads serve well, since Pillow decodes and scales without Python's lock.
"""

import math
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["StreamedSplit", "augmented", "centred", "crop_box", "decoders", "read_image"]

Batches = Iterator[tuple[Tensor, Tensor]]

_AHEAD = 2  # batches that are decoded while one is in use
_LEAST_AREA = 0.08  # of a random crop, as a share of the image; with the aspect ratio, Szegedy et al. 2015, section 6
_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
_MARGIN = 8 / 7  # of evaluation: 256 for 224


def decoders() -> int:
    """How many threads decode: one for each CPU that this process may use. Results do not depend on it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_image(path: Path, channels: int = 3) -> "Image":
    """The image in a file, as RGB, or as grey where `channels` is 1; palette and CMYK images are converted.

    Raises:
        DataError: the file cannot be read, or is no intact image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB" if channels == 3 else "L")
    except Exception as error:  # Pillow's readers raise errors of many kinds on damaged files
        raise DataError(
            f"{path} cannot be read as an image ({error}). Put an intact copy of the file in its place and run again."
        ) from error


def centred(image: "Image", size: tuple[int, int], margin: float = _MARGIN) -> "Image":
    """For evaluation: the image scaled until it covers `margin` times `size`, and the centre of `size`.

    Args:
        image: of any size.
        size: (height, width) in pixels.
        margin: 8/7 scales the short side to 256 for 224x224; 1 leaves an image of `size` as it is.
    """
    from torchvision.transforms import functional

    height, width = (round(side * margin) for side in size)
    wide, tall = image.size
    narrower = wide * height <= tall * width  # than what is wanted, relatively: then the width decides
    scaled = [width * tall // wide, width] if narrower else [height, height * wide // tall]
    return functional.center_crop(functional.resize(image, scaled), list(size))


def augmented(
    image: "Image", size: tuple[int, int], augment: tuple[str, ...], seed: int, margin: float = _MARGIN
) -> "Image":
    """For training: `resized-crop` and `flip` as the seed draws them; without the first, `centred`."""
    from torchvision.transforms import functional

    draw = random.Random(seed)
    if "resized-crop" in augment:
        left, top, width, height = crop_box(*image.size, draw, size[1] / size[0])
        image = functional.resized_crop(image, top, left, height, width, list(size))
    else:
        image = centred(image, size, margin)
    return functional.hflip(image) if "flip" in augment and draw.random() < 0.5 else image


def crop_box(width: int, height: int, draw: random.Random, shape: float = 1.0) -> tuple[int, int, int, int]:
    """A random part of an image, as torchvision's RandomResizedCrop draws it: left, top, width and height.

    Its area is 8 % to all of the image's, its aspect ratio 3/4 to 4/3 of `shape`, which is the width over the height
    of what it will be scaled to (uniform in the logarithm). When ten draws do
    not fit into the image it is the largest centred part with an allowed aspect ratio.
    """
    for _ in range(_TRIES):
        area = width * height * draw.uniform(_LEAST_AREA, 1)
        aspect = shape * math.exp(draw.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = (int(draw.random() * (left_over + 1)) for left_over in (width - wide, height - tall))
            return left, top, wide, tall
    wide = min(width, max(1, round(height * shape * _ASPECT[1])))
    tall = min(height, max(1, round(width / (shape * _ASPECT[0]))))
    return (width - wide) // 2, (height - tall) // 2, wide, tall


@dataclass(frozen=True)
class StreamedSplit:
    """Images of one part, in files; the counterpart of `bench.data.splits.Split`.

    Attributes:
        root: the folder that the names begin in.
        names: of the files.
        labels: int64 [N], on the run's device.
        shape: of the images that are served, (C, H, W).
        margin: for evaluation, see `centred`.
        read: gives the image of a name; None to decode `root / name`.
    """

    root: Path
    names: tuple[str, ...]
    labels: Tensor
    shape: tuple[int, int, int]
    margin: float = _MARGIN
    read: "Callable[[str], Image] | None" = None

    def __len__(self) -> int:
        return len(self.names)

    def none(self) -> "StreamedSplit":
        """The same with no image."""
        return replace(self, names=(), labels=self.labels[:0])

    def where(self, wanted: Tensor) -> "StreamedSplit":
        """The same with those images alone (bool [N])."""
        names = tuple(name for name, keep in zip(self.names, wanted.tolist(), strict=True) if keep)
        return replace(self, names=names, labels=self.labels[wanted])

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Images as for evaluation, uint8 [N, C, H, W], and labels of these places (int64 [N])."""
        return next(self._batches([places.cpu()], self._centred))

    def in_order(self, parts: Iterable[slice]) -> Batches:
        """Images as for evaluation, uint8 [B, C, H, W], and labels of these parts of the split."""
        places = (torch.arange(part.start, part.stop) for part in parts)
        return self._batches(places, self._centred)

    def shuffled(self, parts: Iterable[slice], augment: tuple[str, ...], generator: torch.Generator) -> Batches:
        """Images and labels of these parts of a random order, augmented; all is drawn when this is called."""
        order = torch.randperm(len(self), generator=generator)
        seeds = torch.randint(2**63 - 1, (len(self),), generator=generator)

        def prepare(image: "Image", place: int) -> "Image":
            return augmented(image, self.shape[1:], augment, int(seeds[place]), self.margin)

        return self._batches((order[part] for part in parts), prepare)

    def _centred(self, image: "Image", _place: int) -> "Image":
        return centred(image, self.shape[1:], self.margin)

    def _image(self, name: str) -> "Image":
        return self.read(name) if self.read else read_image(self.root / name, self.shape[0])

    def _batches(self, batches: Iterable[Tensor], prepare: Callable[["Image", int], "Image"]) -> Batches:
        """Batches of places, decoded ahead by threads, in the order given.

        Raises:
            DataError: an image cannot be read; raised when its batch is taken.
        """

        def decode(place: int) -> Tensor:
            pixels = np.array(prepare(self._image(self.names[place]), place))
            return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[:, :, None])

        def finished(places: Tensor, images: list[Future[Tensor]]) -> tuple[Tensor, Tensor]:
            device = self.labels.device
            pixels = torch.stack([image.result() for image in images]).permute(0, 3, 1, 2)
            if device.type == "cuda":
                pixels = pixels.pin_memory()
            return pixels.to(device, non_blocking=True), self.labels.index_select(0, places.to(device))

        pool = ThreadPoolExecutor(decoders(), thread_name_prefix="decode")
        waiting: deque[tuple[Tensor, list[Future[Tensor]]]] = deque()
        try:
            for places in batches:
                waiting.append((places, [pool.submit(decode, place) for place in places.tolist()]))
                if len(waiting) > _AHEAD:
                    yield finished(*waiting.popleft())
            while waiting:
                yield finished(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
