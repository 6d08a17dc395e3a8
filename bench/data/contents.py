"""What streamed images are: a hash of each, after it was decoded once.

A damaged image is so found when a track is made or a run is planned, with all the others, and not hours later by the
batch that holds it. Both are remembered: only what is new or has changed is read again.
"""

import hashlib
import io
import sys
import time
from collections.abc import Callable

import numpy as np

from bench.data.base import ImageFiles
from bench.data.hashes import files_sha256

__all__ = ["contents"]

_SAID_AFTER_SECONDS = 5.0
_SAID_EVERY_SECONDS = 20.0


def contents(name: str, part: ImageFiles) -> list[str]:
    """Hash of each image's file; of images that lie in no files, of their pixels.

    Says on standard error how far it is and how long it will take, where that is long.

    Args:
        name: of the data set, for people.
        part: its images.

    Raises:
        DataError: some cannot be read, or are no intact images; the text names them.
    """
    if part.read is not None:
        return [hashlib.sha256(np.asarray(part.read(each)).tobytes()).hexdigest() for each in part.names]
    return files_sha256(part.root, part.names, _progress(name), _damage)


def _progress(name: str) -> Callable[[int, int], None]:
    begun = said = time.monotonic()

    def report(done: int, files: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - begun > _SAID_AFTER_SECONDS and (said == begun or now - said > _SAID_EVERY_SECONDS):
            said, minutes = now, (now - begun) * (files - done) / done / 60
            print(
                f"data set {name!r}: {done:,} of {files:,} images read and decoded, once; about {minutes:.2g} min more",
                file=sys.stderr,
                flush=True,
            )

    return report


def _damage(content: bytes) -> str | None:
    """Why an image cannot be decoded to its end; None where it can. JPEG is decoded at an eighth of its size."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft(None, (1, 1))  # None: in the colours that it has
            image.load()
    except UnidentifiedImageError:
        return "no image that Pillow knows"
    except Exception as error:  # Pillow's readers raise errors of many kinds on damaged files
        return " ".join(str(error).split())[:100]
    return None
