"""Where a user's own images come from: a folder by class, an `.npz` file, or a function giving torch `Dataset`s.

Each source is looked through and listed here as parts (`train`, `val`, `test`, or `all` that is still to be split); no
image is decoded before somebody asks for it. What becomes of them is `bench.data.own`'s.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.arrays import parts_of_arrays
from bench.data.base import ImageFiles
from bench.data.torch_datasets import parts_of_function
from bench.errors import DataError
from bench.plugins.imported import is_import

__all__ = ["Found", "find_images", "hand_over_images"]

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Found:
    """The images of a source.

    Attributes:
        parts: by `train`, `val` and `test`, or `all` where they are still to be split.
        classes: names in the order of the labels, where there are names.
    """

    parts: dict[str, ImageFiles]
    classes: tuple[str, ...] | None = None


_HANDED: dict[str, Found] = {}


def hand_over_images(found: Found) -> str:
    """Keeps images that a notebook hands over, and gives the source that they are known by in this process."""
    digest = hashlib.sha256()
    for part, files in sorted(found.parts.items()):
        digest.update(f"{part} {files.names} {files.bytes} {files.labels.tolist()}".encode())
    name = f"live:{digest.hexdigest()[:8]}"
    _HANDED[name] = found
    return name


def find_images(source: str, root: Path | None) -> Found:
    """Looks a source through.

    Args:
        source: a folder, an `.npz` file, or `FILE.py:FUNCTION` or `package.module:function`.
        root: the folder that a path begins in.

    Raises:
        DataError: there is nothing, or it holds no images with labels.
        UsageError: the function cannot be imported or called.
    """
    if source in _HANDED:
        return _HANDED[source]
    path = (root or Path()) / source
    if path.is_dir():
        return _folder(path)
    if source.lower().endswith(".npz"):
        if not path.is_file():
            raise DataError(f"images {path}: there is no such file.")
        return Found(*parts_of_arrays(path))
    if is_import(source):
        return Found(*parts_of_function(source, root))
    if source.startswith("live:"):
        raise DataError(
            f"images {source!r} were handed over in a notebook and are not known here. Hand them over again."
        )
    turned = source.replace("\\", "/")
    if turned != source and ((root or Path()) / turned).exists():
        raise DataError(f"images {path}: there is no such folder. Write {turned!r}.")
    raise DataError(
        f"images {path}: {'no folder' if path.exists() else 'there is no such folder'}. Give a folder with a folder of "
        "images for each class, an .npz file, or FILE.py:FUNCTION (package.module:function) that gives a torch Dataset."
    )


def _folder(path: Path) -> Found:
    names = _folders(path)
    parts = {PARTS[name.lower()]: path / name for name in names if name.lower() in PARTS}
    if not parts:
        classes = names
        return Found({"all": _by_class(path, path, classes)}, tuple(classes))
    if "train" not in parts:
        raise DataError(f"images {path}: there are {', '.join(sorted(parts))}, and no train. Name the folder train.")
    if others := [name for name in names if name.lower() not in PARTS]:
        raise DataError(
            f"images {path}: {', '.join(others[:5])} beside {', '.join(p.name for p in parts.values())}. Have either "
            "train, val and test, or the folders of the classes."
        )
    classes = _folders(parts["train"])
    for part, folder in parts.items():
        there = _folders(folder)
        if different := sorted(set(there) ^ set(classes)):
            where = folder if different[0] in classes else parts["train"]
            raise DataError(
                f"images {path}: the classes of train and {part} differ: {where} has no {different[0]!r}"
                f"{f' ({len(different)} such classes)' if len(different) > 1 else ''}. Labels are the sorted names "
                "of the class folders, so each part needs the same ones."
            )
    return Found({part: _by_class(path, folder, classes) for part, folder in parts.items()}, tuple(classes))


def _folders(path: Path) -> list[str]:
    try:
        return sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"images {path}: cannot be read: {error.strerror}.") from None


def _by_class(root: Path, folder: Path, classes: Sequence[str]) -> ImageFiles:
    import torch

    if len(classes) < 2:
        raise DataError(
            f"images {folder}: {len(classes)} class folders, and two or more are needed. The images of a class lie "
            "in a folder with its name."
        )
    names: list[str] = []
    sizes: list[int] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = sorted(
            Path(base) / file
            for base, _, files in os.walk(folder / name)
            for file in files
            if file.lower().endswith(SUFFIXES) and not file.startswith(".")
        )
        if not images:
            raise DataError(
                f"images {folder / name}: no image there ({', '.join(SUFFIXES)}). Put the images of the class into "
                "it, or take the folder away."
            )
        names += [image.relative_to(root).as_posix() for image in images]
        sizes += [image.stat().st_size for image in images]
        labels += [label] * len(images)
    return ImageFiles(root, tuple(names), tuple(sizes), torch.tensor(labels))
