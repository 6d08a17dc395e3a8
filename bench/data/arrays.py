"""Images in an `.npz` file: arrays by the names in use, never unpickled."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data.base import ImageFiles
from bench.data.pixels import as_image
from bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["part_of_arrays", "parts_of_arrays"]


def parts_of_arrays(path: Path) -> tuple[dict[str, ImageFiles], tuple[str, ...] | None]:
    """The parts of a file: `train`, `val` and `test`, or `all` that is still to be split; names where labels are text.

    Raises:
        DataError: it is no such file, or its arrays are no images with labels.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # numpy's reader raises errors of many kinds
        raise DataError(
            f"images {path}: not an .npz file of plain arrays ({type(error).__name__}: {error}). Write it with "
            "numpy.savez(path, train_images=..., train_labels=..., test_images=..., test_labels=...)."
        ) from None
    found = {part: pair for part in ("train", "val", "test", "all") if (pair := _pair(arrays, part)) is not None}
    classes = _names(next(iter(found.values()))[1]) if found else None
    parts = {part: part_of_arrays(path, part, images, labels, classes) for part, (images, labels) in found.items()}
    if "train" not in parts and set(parts) != {"all"}:
        raise DataError(
            f"images {path}: holds {', '.join(arrays) or 'nothing'}. Name the arrays train_images, train_labels, "
            "test_images, test_labels (and val_images, val_labels), or images and labels, which are then split."
        )
    return {name: part for name, part in parts.items() if name != "all" or len(parts) == 1}, classes


def _pair(arrays: Mapping[str, NDArray[Any]], part: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Images and labels of a part, by the names in use (`train_images`, `x_train`, `images`, `x`)."""
    if part == "all":
        names = [("images", "labels"), ("x", "y"), ("X", "y")]
    else:
        names = [(f"{part}_images", f"{part}_labels"), (f"x_{part}", f"y_{part}"), (f"X_{part}", f"y_{part}")]
    return next(((arrays[a], arrays[b]) for a, b in names if a in arrays and b in arrays), None)


def _names(labels: NDArray[Any]) -> tuple[str, ...] | None:
    """The classes, sorted, where labels are text: as of a folder with their names."""
    return tuple(map(str, np.unique(labels))) if labels.dtype.kind == "U" else None


def part_of_arrays(
    path: Path, part: str, images: NDArray[Any], labels: NDArray[Any], classes: tuple[str, ...] | None = None
) -> ImageFiles:
    """Images and labels, which are whole numbers, or text that is among `classes`.

    Raises:
        DataError: they are something else.
    """
    import torch

    where = f"images {path}, {part}"
    if classes is not None and labels.dtype.kind == "U":
        if unknown := sorted(set(map(str, labels.flat)) - set(classes)):
            raise DataError(f"{where}: no image of {unknown[0]!r} is for training: there are {', '.join(classes[:8])}.")
        labels = np.searchsorted(np.array(classes), labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or len(labels) != len(images):
        raise DataError(
            f"{where}: labels are {labels.dtype} {labels.shape}, and images {images.shape}. A whole number or a "
            "name for each image is needed: labels.argmax(1) of one column a class."
        )
    if images.ndim not in (3, 4) or (
        images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] not in (1, 3)
    ):
        raise DataError(
            f"{where}: images are {images.shape}. [N, H, W], [N, H, W, C] or [N, C, H, W] is needed, C 1 or 3."
        )
    if images.ndim == 4 and images.shape[-1] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    names = tuple(f"{part}/{place}" for place in range(len(labels)))
    sums = tuple(zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in images)

    def read(name: str) -> "Image":
        return as_image(images[int(name.rpartition("/")[2])], f"{where}, image {name.rpartition('/')[2]}")

    return ImageFiles(path.parent, names, sums, torch.from_numpy(labels.astype(np.int64)), read)
