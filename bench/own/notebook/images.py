"""Images as a notebook has them, as a source of a track: a path, a torch `Dataset` or loader, or arrays with labels."""

from pathlib import Path
from typing import Any

from bench.data.arrays import part_of_arrays
from bench.data.base import ImageFiles
from bench.data.sources import Found, find_images, hand_over_images
from bench.data.torch_datasets import parts_of_datasets
from bench.errors import UsageError

__all__ = ["source_of"]

Part = tuple[ImageFiles, tuple[str, ...] | None]


def source_of(train: Any, test: Any = None) -> str:
    """The source that a track names: a path as it is, or what the images are known by in this process.

    Args:
        train: a folder by class or an `.npz` file (split already, where `test` is None); a torch `Dataset` or
            `DataLoader` of images and labels, not normalised; or a pair of arrays, images and labels.
        test: likewise; None to take it from `train`.

    Raises:
        UsageError, DataError: these are no images with labels.
    """
    if test is None and isinstance(train, str | Path):
        return str(Path(train).resolve())
    parts = {"train": _part(train, "train")}
    if test is not None:
        parts["test"] = _part(test, "test")
    classes = [names for _, names in parts.values() if names is not None]
    if len(set(classes)) > 1:
        raise UsageError(
            f"the classes of train are {', '.join(classes[0][:8])}, and of test {', '.join(classes[1][:8])}."
        )
    return hand_over_images(Found({name: files for name, (files, _) in parts.items()}, classes[0] if classes else None))


def _part(given: Any, name: str) -> Part:
    if isinstance(given, str | Path):
        found = find_images(str(Path(given).resolve()), None)
        if set(found.parts) != {"all"}:
            raise UsageError(
                f"{name}={str(given)!r} holds {', '.join(found.parts)}. Give it alone as train=, or a folder with the "
                "classes for each of train= and test=."
            )
        return found.parts["all"], found.classes
    if isinstance(given, tuple | list) and len(given) == 2 and hasattr(given[0], "shape"):
        import numpy as np

        return part_of_arrays(Path(name), name, np.asarray(given[0]), np.asarray(given[1])), None
    dataset = getattr(given, "dataset", given)  # a DataLoader's
    parts, classes = parts_of_datasets(dataset, f"{name}=")
    return parts["all"], classes
