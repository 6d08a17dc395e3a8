"""The contract of a data set: images in memory or in files, with labels; where they come from, how they are checked.

A data set is one file in `datasets/` (or an entry point in the group `bench.datasets`). It only loads; splitting,
augmenting and batching are `bench.data.splits`'s.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.plugins import discover, find
from bench.specs.code import source_sha256

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["Dataset", "ImageFiles", "Images", "dataset", "dataset_names"]


@dataclass(frozen=True)
class Images:
    """Labelled images, as stored.

    Attributes:
        pixels: uint8 [N, channels, height, width].
        labels: int64 [N], each in [0, classes).
    """

    pixels: "Tensor"
    labels: "Tensor"


@dataclass(frozen=True)
class ImageFiles:
    """Labelled image files, which are decoded as batches need them (`bench.data.streaming`).

    Attributes:
        root: the folder that the names begin in.
        names: of the files, relative to `root`, with forward slashes, sorted.
        bytes: size of each file.
        labels: int64 [N], each in [0, classes).
        read: gives the image of a name, for images that are in no files of their own; None to decode `root / name`.
    """

    root: Path
    names: tuple[str, ...]
    bytes: tuple[int, ...]
    labels: "Tensor"
    read: "Callable[[str], Image] | None" = None


class Dataset(abc.ABC):
    """A named data set with a training and a test part.

    Attributes:
        name: what a track calls it.
        summary: one sentence for people.
        reference: who made it, and where it is described.
        channels: 1 for grey images, 3 for colour.
        size: pixels; one number for square images, else `(height, width)`.
        classes: number of labels.
        mean, std: by channel, of the training part scaled to [0, 1]; images are normalised with them.
        flip: whether a left-right flip leaves the label as it is.
        streamed: whether the images stay in files (`ImageFiles`); they are then read as RGB (grey where `channels` is
            1), scaled and cropped.
        held_out: how many images at the end of the training part are the validation split; 0 where the track carves
            it. Known once `load` was called.
        margin: of streamed images: evaluation scales an image until it covers so many times `size`, and takes the
            centre; 1 cuts off only what does not have the shape of `size`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str]
    channels: ClassVar[int]
    size: ClassVar[int | tuple[int, int]]
    classes: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    flip: ClassVar[bool] = False
    streamed: ClassVar[bool] = False
    margin: ClassVar[float] = 8 / 7
    held_out: ClassVar[int] = 0

    @property
    def height(self) -> int:
        """Rows of an image, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Columns of an image, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image, `(channels, height, width)`."""
        return self.channels, self.height, self.width

    def code_sha256(self) -> str:
        """Hash over the code of the data set's own, which reads its images."""
        return source_sha256(type(self).__module__)

    @abc.abstractmethod
    def load(self, folder: Path) -> tuple[Images, Images] | tuple[ImageFiles, ImageFiles]:
        """Training and test images: both in memory, or both in files where the data set is `streamed`.

        Args:
            folder: the data folder; files are looked for there, and downloaded to it where they are missing.

        Raises:
            DataError: files are missing and cannot be downloaded, or are damaged. The text names the files, the
                folder and the next action.
        """

    def missing(self, folder: Path) -> tuple[str, ...]:
        """What of its files is not in the data folder, at a glance; empty where all are there, or come with a package.

        Nothing is read or downloaded. `bench doctor` shows it.
        """
        return ()


def dataset_names() -> tuple[str, ...]:
    """Names of all data sets, sorted."""
    return tuple(sorted(discover("bench.datasets", "bench.datasets", Dataset).classes))


def dataset(name: str) -> Dataset:
    """The data set called `name`.

    Raises:
        UsageError: there is none; the near names are listed.
    """
    made: Dataset = find("bench.datasets", "bench.datasets", Dataset, name)()
    return made
