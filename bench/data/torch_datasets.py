"""Images of torch `Dataset`s: of a function that gives them, or handed over in a notebook."""

import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.base import ImageFiles
from bench.data.pixels import as_image
from bench.errors import DataError, UsageError
from bench.plugins.imported import imported

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["parts_of_datasets", "parts_of_function"]

_SAMPLED = 64  # images of a data set that go into its fingerprint
Named = tuple[dict[str, ImageFiles], tuple[str, ...] | None]


def parts_of_function(source: str, root: Path | None) -> Named:
    """What a function gives; see `parts_of_datasets`.

    Raises:
        UsageError: it cannot be imported or called.
    """
    give = imported(source, root)
    try:
        given = give()
    except Exception as error:  # a user's function may fail in any way
        raise UsageError(
            f"{source}() raises {type(error).__name__}: {str(error)[:300]}. It is called without arguments and must "
            "give a torch Dataset, or several as a dictionary with train, val and test."
        ) from error
    return parts_of_datasets(given, source)


def parts_of_datasets(given: Any, source: str) -> Named:
    """The images of torch `Dataset`s: one, or several by `train`, `val` and `test`, or as a tuple in that order.

    Returns:
        The parts, and the names of the classes where the data set has them.

    Raises:
        UsageError: these are no such things, or their items are no images with labels.
    """
    if isinstance(given, tuple) and 2 <= len(given) <= 3:
        given = dict(zip(("train", "test") if len(given) == 2 else ("train", "val", "test"), given, strict=True))
    parts = given if isinstance(given, Mapping) else {"all": given}
    if unknown := [str(name) for name in parts if name not in ("train", "val", "test", "all")]:
        raise UsageError(f"{source} gives {', '.join(unknown)}. Name its parts train, val and test.")
    if "train" not in parts and "all" not in parts:
        raise UsageError(f"{source} gives {', '.join(parts)}, and no train.")
    listed = {name: _part_of_dataset(dataset, f"{source}, {name}") for name, dataset in parts.items()}
    names = getattr(next(iter(parts.values())), "classes", None)
    named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return listed, tuple(names) if named and names else None


def _part_of_dataset(dataset: Any, where: str) -> ImageFiles:
    import torch

    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise UsageError(f"{where} is a {type(dataset).__name__}, not a torch Dataset with a length.")
    count, lock = len(dataset), threading.Lock()
    if not count:
        raise DataError(f"{where} is empty.")

    def item(place: int) -> tuple[Any, int]:
        with lock:  # decoding threads ask at the same time, which not every data set can do
            try:
                image, label = dataset[place]
                return image, int(label)
            except Exception as error:  # a user's data set may fail in any way
                raise DataError(
                    f"{where}, item {place}: {type(error).__name__}: {str(error)[:300]}. An item is an image and a "
                    "label."
                ) from error

    def read(name: str) -> "Image":
        return as_image(item(int(name))[0], f"{where}, item {name}")

    targets = getattr(dataset, "targets", None)
    if targets is not None and len(targets) == count:
        labels = [int(label) for label in targets]
    else:
        labels = [item(place)[1] for place in range(count)]
    if np.asarray(read("0")).tobytes() != np.asarray(read("0")).tobytes():
        raise UsageError(
            f"{where}: item 0 is another image each time. Take the random transforms out: bench augments by the "
            "track's recipe."
        )
    looked = range(min(_SAMPLED, count))
    sums = [zlib.crc32(np.asarray(read(str(place))).tobytes()) for place in looked] + [0] * (count - len(looked))
    return ImageFiles(Path(), tuple(map(str, range(count))), tuple(sums), torch.tensor(labels), read)
