"""Data sets that the user has as folders of images, one a class: found, counted, and never downloaded or changed.

The images stay in their files (`bench.data.streaming` decodes them). Every error says what the data are, where they
are to be had, how they must lie and what is checked.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from bench.data.base import Dataset, ImageFiles
from bench.errors import DataError

__all__ = ["ByClass", "ImageFolders"]

ByClass = dict[str, list[tuple[str, int]]]
"""By class folder, in order: the name of each image, relative to the data folder, and its size in bytes, in order."""


class ImageFolders(Dataset):
    """What such data sets share.

    Attributes:
        about: what the data are and where they are to be had, one or two sentences.
        layout: how they lie in the data folder `DIR`, one line a kind of file.
        counts: training and test images that there must be.
        suffixes: of image files, in small letters; other files are ignored.
    """

    about: ClassVar[str]
    layout: ClassVar[tuple[str, ...]]
    counts: ClassVar[tuple[int, int]]
    suffixes: ClassVar[tuple[str, ...]] = (".jpeg", ".jpg", ".png")
    channels, size = 3, 224
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    flip = True
    streamed = True

    def missing(self, folder: Path) -> tuple[str, ...]:
        """The first folder that is not there; it is not downloaded."""
        first = self.layout[0].split("/<")[0].removeprefix("DIR/")
        return () if (folder / first).is_dir() else (str(folder / first),)

    def by_class(self, folder: Path, part: str) -> ByClass:
        """The images below `folder / part`, by class.

        Raises:
            DataError: the folder cannot be read, has another number of classes, or has a class without images.
        """
        try:
            with os.scandir(folder / part) as entries:
                names = sorted(each.name for each in entries if each.is_dir() and not each.name.startswith("."))
            found = {name: self._images(folder, f"{part}/{name}") for name in names}
        except OSError as error:
            raise self.refused(folder, f"{error.filename} cannot be read: {error.strerror}") from error
        if len(found) != self.classes:
            raise self.refused(folder, f"{folder / part} holds {len(found)} class folders, not {self.classes}")
        empty = [name for name, images in found.items() if not images]
        if empty:
            raise self.refused(folder, f"there are no images in {folder / part / empty[0]} ({len(empty)} such classes)")
        return found

    def _images(self, folder: Path, part: str) -> list[tuple[str, int]]:
        with os.scandir(folder / part) as entries:
            return sorted(
                (f"{part}/{each.name}", each.stat().st_size)
                for each in entries
                if each.name.lower().endswith(self.suffixes) and not each.name.startswith(".") and each.is_file()
            )

    def parts(self, folder: Path, train: ByClass, test: ByClass) -> tuple[ImageFiles, ImageFiles]:
        """Training and test images, in the order of classes and names.

        Raises:
            DataError: there are more or fewer than there must be.
        """
        found = tuple(sum(map(len, part.values())) for part in (train, test))
        if found != self.counts:
            raise self.refused(
                folder,
                f"there are {found[0]:,} training and {found[1]:,} test images, "
                f"not {self.counts[0]:,} and {self.counts[1]:,}",
            )
        return _files(folder, train), _files(folder, test)

    def refused(self, folder: Path, why: str) -> DataError:
        """The error that says why the folder cannot be used, and what would be right."""
        layout = "\n".join(f"    {line}" for line in self.layout)
        return DataError(
            f"data set {self.name!r} cannot be used: {why}.\n{self.about} Nothing is downloaded: name the folder DIR "
            f"that holds them with --data DIR or BENCH_DATA. They must lie there as\n{layout}\n"
            f"Checked are the number of classes ({self.classes:,}), that each has images, and the numbers of images "
            f"({self.counts[0]:,} for training, {self.counts[1]:,} for test); a file is read when a batch needs it."
        )


def _files(folder: Path, classes: Mapping[str, list[tuple[str, int]]]) -> ImageFiles:
    import torch

    images = [(*image, label) for label, listed in enumerate(classes.values()) for image in listed]
    names, sizes, labels = zip(*images, strict=True)
    return ImageFiles(folder, names, sizes, torch.tensor(labels))
