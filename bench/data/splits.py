"""A track's images on the run's device: split, fingerprinted, and served in batches.

A data set in memory lives on the device as uint8; a batch is gathered, augmented (`bench.data.augmentation`) and
normalised there. One in files is decoded as batches need it (`bench.data.streaming`) and normalised on the device.
Finding files is the data set's (`bench.data.base`), drawing the validation split `bench.data.stratify`'s.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.data.augmentation import draw_moves, moved
from bench.data.base import Dataset, ImageFiles, Images, dataset
from bench.data.contents import contents
from bench.data.own import dataset_of
from bench.data.stratify import mixed, stratified_draw
from bench.data.streaming import StreamedSplit
from bench.errors import DataError, UsageError
from bench.specs.digest import digest
from bench.specs.track import Recipe, Track, Validation

__all__ = [
    "Data",
    "Normaliser",
    "Split",
    "check_augmentation",
    "evaluation_batches",
    "load_data",
    "split_files",
    "split_images",
    "statistics",
    "steps_per_epoch",
    "training_batches",
]

Batches = Iterator[tuple[Tensor, Tensor]]


class Normaliser:
    """From uint8 pixels to what a network takes: (pixels / 255 - mean) / std, by channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        self.mean, self.std = mean, std
        centre, spread = (torch.tensor(each, dtype=torch.float64).view(1, -1, 1, 1) for each in (mean, std))
        self._scale = (1 / (255 * spread)).float().to(device)
        self._offset = (-centre / spread).float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [N, C, H, W] as float32, in the same memory format."""
        return pixels.float().mul_(self._scale).add_(self._offset)


@dataclass(frozen=True)
class Split:
    """Images of one part, on the device; `StreamedSplit` is its counterpart for files.

    Attributes:
        pixels: uint8 [N, C, H, W], channels last in memory.
        labels: int64 [N].
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def none(self) -> "Split":
        """The same with no image."""
        return Split(self.pixels.new_empty(0, *self.pixels.shape[1:]), self.labels.new_empty(0))

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Images, uint8 [N, C, H, W], and labels of these places (int64 [N])."""
        places = places.to(self.labels.device)
        return self.pixels[places], self.labels[places]

    def where(self, wanted: Tensor) -> "Split":
        """The same with those images alone (bool [N])."""
        return Split(self.pixels[wanted].contiguous(memory_format=torch.channels_last), self.labels[wanted])

    def in_order(self, parts: Iterable[slice]) -> Batches:
        """Images, uint8 [B, C, H, W], and labels of these parts of the split."""
        return ((self.pixels[part], self.labels[part]) for part in parts)

    def shuffled(self, parts: Iterable[slice], augment: tuple[str, ...], generator: torch.Generator) -> Batches:
        """Images and labels of these parts of a random order, augmented; all is drawn when this is called."""
        device = self.labels.device
        order = torch.randperm(len(self), generator=generator).to(device)
        moves = draw_moves(len(self), (self.pixels.shape[-2], self.pixels.shape[-1]), augment, generator, device)

        def batches() -> Batches:
            stored = self.pixels.permute(0, 2, 3, 1)
            for part in parts:
                pixels = moved(stored.index_select(0, order[part]), moves[part]).permute(0, 3, 1, 2)
                yield pixels, self.labels.index_select(0, order[part])

        return batches()


@dataclass(frozen=True)
class Data:
    """All that a run sees of its data set.

    Attributes:
        name: of the data set.
        train, validation: both from the data set's training part, in a fixed order that mixes the classes:
            the first few are a fair sample.
        test: the data set's test part, as stored.
        validation_indices: int64 [images] on the CPU, place of each validation image in the data set's
            training part.
        fingerprint: SHA-256 over the stored pixels and labels of both parts of the data set and over
            `validation_indices`; for a data set in files, over each file's name, label and content, which is read once
            and then only where a file's size or time of change is another (`bench.data.hashes`).
        classes: number of labels.
        shape: of an image, (C, H, W).
        normaliser: with the data set's mean and standard deviation, on the device.
        decoding: for a data set in files, hash over how they are read and scaled: the data set's own code, its margin.
    """

    name: str
    train: Split | StreamedSplit
    validation: Split | StreamedSplit
    test: Split | StreamedSplit
    validation_indices: Tensor
    fingerprint: str
    classes: int
    shape: tuple[int, int, int]
    normaliser: Normaliser
    decoding: str = ""

    @property
    def device(self) -> torch.device:
        """Where batches are served."""
        return self.train.labels.device

    @property
    def sha256(self) -> str:
        """Hash over all that a run learns from: the fingerprint, how images are read and normalised, labels, shape."""
        normalised = [list(self.normaliser.mean), list(self.normaliser.std)]
        return digest([self.fingerprint, self.decoding, *normalised, self.classes, list(self.shape)])

    def for_method(self) -> "Data":
        """The same with an empty test part: what a trial may hold."""
        return dataclasses.replace(self, test=self.test.none())

    def with_classes(self, classes: int) -> "Data":
        """The same with the training and validation images of the first `classes` labels only.

        Raises:
            UsageError: there are not so many labels, or none were asked for.
        """
        if not 1 <= classes <= self.classes:
            raise UsageError(f"classes={classes}: {self.name} has {self.classes}. Ask for 1 to {self.classes}.")

        train, validation = (split.where(split.labels < classes) for split in (self.train, self.validation))
        return dataclasses.replace(self, train=train, validation=validation)

    def validation_batches(self, images: int | None = None, batch_size: int = 500) -> Batches:
        """Validation images; see `evaluation_batches`."""
        return evaluation_batches(self.validation, self.normaliser, batch_size, images)

    def test_batches(self, images: int | None = None, batch_size: int = 500) -> Batches:
        """Test images; see `evaluation_batches`."""
        return evaluation_batches(self.test, self.normaliser, batch_size, images)

    def plain_training_batches(self, images: int | None = None, batch_size: int = 500) -> Batches:
        """Training images in a fixed order and not augmented; see `evaluation_batches`."""
        return evaluation_batches(self.train, self.normaliser, batch_size, images)


def load_data(track: Track, folder: Path, device: torch.device | str) -> Data:
    """The track's data set, split by the track, on `device`.

    Args:
        track: names the data set and the validation split.
        folder: the data folder, see `Dataset.load`.
        device: where the images live.

    Raises:
        UsageError: the data set is unknown, cannot be augmented so, or is too small for the validation split.
        DataError: its files are missing or damaged.
    """
    source = check_augmentation(track)
    train, test = source.load(folder)
    if source.streamed and isinstance(train, ImageFiles) and isinstance(test, ImageFiles):
        return split_files(source, train, test, track.validation, torch.device(device))
    if not source.streamed and isinstance(train, Images) and isinstance(test, Images):
        return split_images(source, train, test, track.validation, torch.device(device))
    raise DataError(
        f"data set {source.name!r} has streamed = {source.streamed} and gives {type(train).__name__}; its load() must "
        "give ImageFiles for both parts where it is streamed, else Images."
    )


def check_augmentation(track: Track) -> Dataset:
    """The track's data set, after a look at whether its images can be augmented as the track's recipes say.

    Raises:
        UsageError: the data set is unknown, or cannot.
    """
    source = dataset_of(track)
    asked = track.dense.augment + track.finetune.augment
    if not source.flip and "flip" in asked:
        raise UsageError(
            f"track {track.name!r} flips images of {source.name!r}, whose labels do not survive it. "
            f'Take "flip" out of augment.'
        )
    right, wrong = ("resized-crop", "crop") if source.streamed else ("crop", "resized-crop")
    if wrong in asked:
        where = "streamed from files" if source.streamed else "held in memory"
        raise UsageError(
            f'track {track.name!r} asks for augment = "{wrong}", but the images of {source.name!r} are {where}. '
            f'Take "{right}" instead.'
        )
    return source


def split_images(source: Dataset, train: Images, test: Images, validation: Validation, device: torch.device) -> Data:
    """`train` less the validation images drawn from it, these, and `test`, on `device`.

    Raises:
        UsageError: the validation split would leave nothing to train on.
        DataError: the images are not what the data set declares.
    """
    for part in (train, test):
        _check(source, part)
    drawn, rest = map(torch.tensor, _validation(source, train.labels, validation))

    def placed(pixels: Tensor, labels: Tensor) -> Split:
        on_device = pixels.to(device).contiguous(memory_format=torch.channels_last)
        return Split(on_device, labels.to(device))

    return Data(
        name=source.name,
        train=placed(train.pixels[rest], train.labels[rest]),
        validation=placed(train.pixels[drawn], train.labels[drawn]),
        test=placed(test.pixels, test.labels),
        validation_indices=drawn,
        fingerprint=_fingerprint(train.pixels, train.labels, test.pixels, test.labels, drawn),
        classes=source.classes,
        shape=source.shape,
        normaliser=Normaliser(source.mean, source.std, device),
    )


def split_files(
    source: Dataset, train: ImageFiles, test: ImageFiles, validation: Validation, device: torch.device
) -> Data:
    """`train` less the validation images drawn from it, these, and `test`; all stay in their files.

    Raises:
        UsageError: the validation split would leave nothing to train on.
        DataError: the labels are not what the data set declares.
    """
    for part in (train, test):
        _check_labels(source, part.labels)
    drawn, rest = _validation(source, train.labels, validation)

    def chosen(part: ImageFiles, places: Sequence[int]) -> StreamedSplit:
        names, labels = tuple(part.names[place] for place in places), part.labels[torch.tensor(places)]
        return StreamedSplit(part.root, names, labels.to(device), source.shape, source.margin, part.read)

    listed = "".join(
        f"{label} {sha256} {name}\n"
        for part in (train, test)
        for label, sha256, name in zip(part.labels.tolist(), contents(source.name, part), part.names, strict=True)
    )
    names = torch.frombuffer(bytearray(listed, "utf-8", "surrogateescape"), dtype=torch.uint8)
    return Data(
        name=source.name,
        train=chosen(train, rest),
        validation=chosen(train, drawn),
        test=chosen(test, range(len(test.names))),
        validation_indices=torch.tensor(drawn),
        fingerprint=_fingerprint(names, torch.tensor([len(train.names), len(test.names)]), torch.tensor(drawn)),
        classes=source.classes,
        shape=source.shape,
        normaliser=Normaliser(source.mean, source.std, device),
        decoding=digest([source.margin, source.code_sha256()]),
    )


def _validation(source: Dataset, labels: Tensor, validation: Validation) -> tuple[list[int], list[int]]:
    """Places of the validation images in the training part, and of the others: drawn, or those that it holds out."""
    if not source.held_out:
        return stratified_draw(labels.tolist(), validation.images, validation.seed)
    if validation.images != source.held_out:
        raise UsageError(
            f"validation.images = {validation.images}, and data set {source.name!r} has {source.held_out} validation "
            f"images of its own. Write validation.images = {source.held_out}."
        )
    first = len(labels) - source.held_out
    return mixed(range(first, len(labels)), validation.seed), mixed(range(first), validation.seed)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of batches of an epoch: the last partial one counts, unless it is a single image."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1)


def training_batches(data: Data, recipe: Recipe, generator: torch.Generator, start: int = 0) -> Batches:
    """One epoch of the training split in a random order, augmented and normalised.

    The order and all augmentations are drawn when this is called, not when batches are taken: the generator
    moves on by one epoch however many batches are used, and its state at the call fixes every batch.

    Args:
        data: its training split is used.
        recipe: gives `batch_size` and `augment`.
        generator: a CPU generator, so that the draws are the same for every device.
        start: batches to leave out at the beginning, at no cost, to go on with an interrupted epoch.

    Returns:
        Images, float32 [B, C, H, W], channels last, and labels, int64 [B]. A last batch of one image, which
        BatchNorm cannot train on, is left out.
    """
    split, size = data.train, recipe.batch_size
    steps = range(start, steps_per_epoch(len(split), size))
    parts = [slice(step * size, (step + 1) * size) for step in steps]
    drawn = split.shuffled(parts, recipe.augment, generator)
    return ((data.normaliser(pixels), labels) for pixels, labels in drawn)


def evaluation_batches(
    split: Split | StreamedSplit, normaliser: Normaliser, batch_size: int = 500, images: int | None = None
) -> Batches:
    """Images and labels in the split's order, normalised: the first `images`, or all when None or too many.

    Raises:
        UsageError: `images` is below 1.
    """
    if images is not None and images < 1:
        raise UsageError(f"images={images}: use one image or more.")
    end = len(split) if images is None else min(images, len(split))
    parts = (slice(first, min(first + batch_size, end)) for first in range(0, end, batch_size))
    return ((normaliser(pixels), labels) for pixels, labels in split.in_order(parts))


def statistics(name: str, folder: Path | str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel of a data set's training part scaled to [0, 1], to 4 places.

    Images in files are taken as for evaluation, scaled and cropped.
    """
    source = dataset(name)
    train, _ = source.load(Path(folder))
    parts: Iterable[Tensor] = [train.pixels] if isinstance(train, Images) else _evaluated(train, source)
    counts = sum(
        torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in pixels.unbind(1)])
        for pixels in parts
    )
    assert isinstance(counts, Tensor)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in counts:
        share = channel.double() / channel.sum()
        centre = float(share @ values)
        mean.append(round(centre, 4))
        std.append(round(float(share @ (values - centre) ** 2) ** 0.5, 4))
    return tuple(mean), tuple(std)


def _evaluated(files: ImageFiles, source: Dataset) -> Iterator[Tensor]:
    """The images of the files as for evaluation, uint8 [B, C, H, W], batch by batch."""
    split = StreamedSplit(files.root, files.names, files.labels, source.shape, source.margin, files.read)
    parts = (slice(first, min(first + 100, len(split))) for first in range(0, len(split), 100))
    return (pixels for pixels, _ in split.in_order(parts))


def _check(source: Dataset, part: Images) -> None:
    pixels, labels = part.pixels, part.labels
    wanted = (len(labels), *source.shape)
    if (pixels.dtype, tuple(pixels.shape), labels.dtype) != (torch.uint8, wanted, torch.int64):
        raise DataError(
            f"data set {source.name!r} gives pixels {pixels.dtype} {tuple(pixels.shape)} and labels "
            f"{labels.dtype}; its load() must give uint8 {wanted} and int64."
        )
    _check_labels(source, labels)


def _check_labels(source: Dataset, labels: Tensor) -> None:
    if not len(labels) or labels.min() < 0 or labels.max() >= source.classes:
        raise DataError(f"data set {source.name!r}: load() must give labels from 0 to {source.classes - 1}.")


def _fingerprint(*tensors: Tensor) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()
