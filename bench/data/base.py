"""The contract of a data set: images in memory or in files, with labels; where they come from, how they are checked.

A data set is one file in `datasets/` (or an entry point in the group `bench.datasets`). It only loads; splitting,
augmenting and batching are `bench.data.splits`'s.
"""

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.plugins import discover

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Dataset", "ImageFiles", "Images", "dataset", "dataset_names"]


@dataclass(frozen=True)
class Images:
    """Labelled images, as stored.

    Attributes:
        pixels: uint8 [N, channels, size, size].
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
    """

    root: Path
    names: tuple[str, ...]
    bytes: tuple[int, ...]
    labels: "Tensor"


class Dataset(abc.ABC):
    """A named data set with a training and a test part.

    Attributes:
        name: what a track calls it.
        summary: one sentence for people.
        reference: who made it, and where it is described.
        channels, size, classes: shape of an image ([channels, size, size]) and number of labels.
        mean, std: by channel, of the training part scaled to [0, 1]; images are normalised with them.
        flip: whether a left-right flip leaves the label as it is.
        streamed: whether the images stay in files (`ImageFiles`); they are then read as RGB, scaled and cropped.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str]
    channels: ClassVar[int]
    size: ClassVar[int]
    classes: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    flip: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    @abc.abstractmethod
    def load(self, folder: Path) -> tuple[Images, Images] | tuple[ImageFiles, ImageFiles]:
        """Training and test images: both in memory, or both in files where the data set is `streamed`.

        Args:
            folder: the data folder; files are looked for there, and downloaded to it where they are missing.

        Raises:
            DataError: files are missing and cannot be downloaded, or are damaged. The text names the files, the
                folder and the next action.
        """


def dataset_names() -> tuple[str, ...]:
    """Names of all data sets, sorted."""
    return tuple(sorted(discover("bench.datasets", "bench.datasets", Dataset).classes))


def dataset(name: str) -> Dataset:
    """The data set called `name`.

    Raises:
        UsageError: there is none; the near names are listed.
    """
    made: Dataset = discover("bench.datasets", "bench.datasets", Dataset).get(name)()
    return made
