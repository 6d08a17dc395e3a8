"""Images of a user's own as a data set of a track: a source, split where it is not, in memory or streamed.

Finding them is `bench.data.sources`'s. A part `val` beside `train` and `test` is the validation split; `val` without
`test` is the test part, and validation is carved from `train` as always. Of what is not split, a fifth is for test.
"""

from pathlib import Path

import torch
from torch import Tensor

from bench.data.base import Dataset, ImageFiles, Images, dataset
from bench.data.sources import Found, find_images
from bench.data.stratify import stratified_draw
from bench.data.streaming import StreamedSplit
from bench.errors import DataError
from bench.plugins.imported import is_import, module_of, source_file
from bench.specs.code import library_of, source_of
from bench.specs.sources import ImagesSection
from bench.specs.track import Track

__all__ = ["OwnImages", "Parts", "dataset_of", "decoded", "parts_of"]

TEST_SHARE = 0.2
_TEST_SEED = 2
_LEAST_A_CLASS = 3  # where nothing is split yet: training, validation and test


def dataset_of(track: Track) -> Dataset:
    """The data set of a track.

    Raises:
        UsageError: there is none of that name.
    """
    return dataset(track.dataset) if track.images is None else OwnImages(track.dataset, track.images, track.root)


class Parts:
    """A source, split.

    Attributes:
        train, test: both parts; where `held_out` is not 0, the last so many of `train` are the validation split.
        classes: names in the order of the labels; None where there are none.
    """

    def __init__(self, found: Found, source: str) -> None:
        parts, self.classes, self.held_out = dict(found.parts), found.classes, 0
        if "all" in parts or set(parts) == {"train"}:
            self.train, self.test = _split(parts.get("all") or parts["train"], source)
        elif "test" in parts and "val" in parts:
            self.train, self.test = _joined(parts["train"], parts["val"]), parts["test"]
            self.held_out = len(parts["val"].names)
        else:
            self.train, self.test = parts["train"], parts.get("test") or parts["val"]


def parts_of(source: str, root: Path | None) -> Parts:
    """The images of a source, split; see `bench.data.sources.find_images` for what it raises."""
    return Parts(find_images(source, root), source)


class OwnImages(Dataset):
    """What the section `[images]` of a track file names."""

    summary = "images of one's own"
    reference = "the user's own"

    def __init__(self, name: str, section: ImagesSection, root: Path | None) -> None:
        # an instance's, where a plugin has its class's
        self.name, self._section, self._root = name, section, root  # type: ignore[misc]
        self.channels, self.classes = section.channels, section.class_count  # type: ignore[misc]
        height, width = section.size
        self.size = height if height == width else (height, width)  # type: ignore[misc]
        self.mean, self.std = section.mean, section.std  # type: ignore[misc]
        self.flip, self.streamed, self.margin = section.flip, section.streamed, section.margin  # type: ignore[misc]
        self.held_out = 0  # type: ignore[misc]

    def code_sha256(self) -> str:
        """Hash over the code of the function that gives the images; empty where they lie in files."""
        source = self._section.source
        if not is_import(source):
            return ""
        file, module = source_file(source, self._root), module_of(source, self._root).__name__
        folder = (self._root or Path()).resolve() if file is None else file.resolve().parent
        found = library_of(module, folder) if file is None else None
        return (found or source_of(module, folder, label=file.name if file else None)).sha256

    def load(self, folder: Path) -> tuple[Images, Images] | tuple[ImageFiles, ImageFiles]:
        """Training and test images; the data folder is not looked into."""
        parts = parts_of(self._section.source, self._root)
        named = self._section.classes
        if parts.classes is not None and isinstance(named, tuple) and parts.classes != named:
            raise DataError(
                f"images {self._section.source}: the classes are {_few(parts.classes)}, and the track says "
                f"{_few(named)}. Write the track again with bench new track, or bring back the folders."
            )
        for part, files in (("train", parts.train), ("test", parts.test)):
            most = int(files.labels.max())
            if most >= self.classes or int(files.labels.min()) < 0:
                raise DataError(
                    f"images {self._section.source}, {part}: labels go from {int(files.labels.min())} to {most}, and "
                    f"the track says {self.classes} classes: 0 to {self.classes - 1}. Correct the labels, or the track."
                )
        self.held_out = parts.held_out  # type: ignore[misc]
        if self.streamed:
            return parts.train, parts.test
        train, test = (decoded(files, self.shape, self.margin) for files in (parts.train, parts.test))
        return Images(train, parts.train.labels), Images(test, parts.test.labels)


def decoded(files: ImageFiles, shape: tuple[int, int, int], margin: float) -> Tensor:
    """All images of a part, uint8 [N, C, H, W].

    Raises:
        DataError: one cannot be read.
    """
    split = StreamedSplit(files.root, files.names, files.labels, shape, margin, files.read)
    steps = (slice(first, min(first + 64, len(split))) for first in range(0, len(split), 64))
    return torch.cat([pixels for pixels, _ in split.in_order(steps)])


def _split(files: ImageFiles, source: str) -> tuple[ImageFiles, ImageFiles]:
    counts = torch.bincount(files.labels)
    few = [label for label, count in enumerate(counts.tolist()) if count < _LEAST_A_CLASS]
    if few and not int(counts[few[0]]):
        raise DataError(
            f"images {source}: labels go from {int(files.labels.min())} to {int(files.labels.max())}, and none is "
            f"{few[0]}. Number the classes from 0 on, without a gap."
        )
    if few:
        raise DataError(
            f"images {source}: class {few[0]} has {int(counts[few[0]])} images, and {_LEAST_A_CLASS} or more are "
            "needed, for training, validation and test. Add images, or split them yourself into train, val and test."
        )
    test, train = stratified_draw(
        files.labels.tolist(), max(len(counts), round(TEST_SHARE * len(files.names))), _TEST_SEED
    )
    return _chosen(files, sorted(train)), _chosen(files, sorted(test))


def _chosen(files: ImageFiles, places: list[int]) -> ImageFiles:
    names, sizes = tuple(files.names[place] for place in places), tuple(files.bytes[place] for place in places)
    return ImageFiles(files.root, names, sizes, files.labels[places], files.read)


def _joined(first: ImageFiles, second: ImageFiles) -> ImageFiles:
    """One part after the other."""
    names, read = first.names + second.names, None
    if first.read is not None and second.read is not None:
        names = tuple(f"0 {name}" for name in first.names) + tuple(f"1 {name}" for name in second.names)
        readers = (first.read, second.read)

        def read(name: str):  # type: ignore[no-untyped-def]
            which, _, rest = name.partition(" ")
            return readers[int(which)](rest)

    return ImageFiles(first.root, names, first.bytes + second.bytes, torch.cat([first.labels, second.labels]), read)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
