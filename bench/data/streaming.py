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
from dataclasses import dataclass
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


def decoders() -> int:
    """How many threads decode: one for each CPU that this process may use. Results do not depend on it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_image(path: Path) -> "Image":
    """The image in a file, as RGB; grey, palette and CMYK images are converted.

    Raises:
        DataError: the file cannot be read, or is no intact image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's readers raise errors of many kinds on damaged files
        raise DataError(
            f"{path} cannot be read as an image ({error}). Put an intact copy of the file in its place and run again."
        ) from error


def centred(image: "Image", size: int) -> "Image":
    """For evaluation: the short side scaled to 8/7 of `size` (256 for 224), and the centre of size x size."""
    from torchvision.transforms import functional

    return functional.center_crop(functional.resize(image, [round(size * 8 / 7)]), [size, size])


def augmented(image: "Image", size: int, augment: tuple[str, ...], seed: int) -> "Image":
    """For training: `resized-crop` and `flip` as the seed draws them; without the first, `centred`."""
    from torchvision.transforms import functional

    draw = random.Random(seed)
    if "resized-crop" in augment:
        left, top, width, height = crop_box(*image.size, draw)
        image = functional.resized_crop(image, top, left, height, width, [size, size])
    else:
        image = centred(image, size)
    return functional.hflip(image) if "flip" in augment and draw.random() < 0.5 else image


def crop_box(width: int, height: int, draw: random.Random) -> tuple[int, int, int, int]:
    """A random part of an image, as torchvision's RandomResizedCrop draws it: left, top, width and height.

    Its area is 8 % to all of the image's, its aspect ratio 3/4 to 4/3 (uniform in the logarithm). When ten draws do
    not fit into the image it is the largest centred part with an allowed aspect ratio.
    """
    for _ in range(_TRIES):
        area = width * height * draw.uniform(_LEAST_AREA, 1)
        aspect = math.exp(draw.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = (int(draw.random() * (left_over + 1)) for left_over in (width - wide, height - tall))
            return left, top, wide, tall
    wide = min(width, max(1, round(height * _ASPECT[1])))
    tall = min(height, max(1, round(width / _ASPECT[0])))
    return (width - wide) // 2, (height - tall) // 2, wide, tall


@dataclass(frozen=True)
class StreamedSplit:
    """Images of one part, in files; the counterpart of `bench.data.splits.Split`.

    Attributes:
        root: the folder that the names begin in.
        names: of the files.
        labels: int64 [N], on the run's device.
        size: of the images that are served, [3, size, size].
    """

    root: Path
    names: tuple[str, ...]
    labels: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.names)

    def none(self) -> "StreamedSplit":
        """The same with no image."""
        return StreamedSplit(self.root, (), self.labels[:0], self.size)

    def where(self, wanted: Tensor) -> "StreamedSplit":
        """The same with those images alone (bool [N])."""
        names = tuple(name for name, keep in zip(self.names, wanted.tolist(), strict=True) if keep)
        return StreamedSplit(self.root, names, self.labels[wanted], self.size)

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Images as for evaluation, uint8 [N, 3, size, size], and labels of these places (int64 [N])."""
        return next(self._batches([places.cpu()], lambda image, _place: centred(image, self.size)))

    def in_order(self, parts: Iterable[slice]) -> Batches:
        """Images as for evaluation, uint8 [B, 3, size, size], and labels of these parts of the split."""
        places = (torch.arange(part.start, part.stop) for part in parts)
        return self._batches(places, lambda image, _place: centred(image, self.size))

    def shuffled(self, parts: Iterable[slice], augment: tuple[str, ...], generator: torch.Generator) -> Batches:
        """Images and labels of these parts of a random order, augmented; all is drawn when this is called."""
        order = torch.randperm(len(self), generator=generator)
        seeds = torch.randint(2**63 - 1, (len(self),), generator=generator)

        def prepare(image: "Image", place: int) -> "Image":
            return augmented(image, self.size, augment, int(seeds[place]))

        return self._batches((order[part] for part in parts), prepare)

    def _batches(self, batches: Iterable[Tensor], prepare: Callable[["Image", int], "Image"]) -> Batches:
        """Batches of places, decoded ahead by threads, in the order given.

        Raises:
            DataError: an image cannot be read; raised when its batch is taken.
        """

        def decode(place: int) -> Tensor:
            return torch.from_numpy(np.array(prepare(read_image(self.root / self.names[place]), place)))

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
