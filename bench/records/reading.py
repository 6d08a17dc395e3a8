"""Reading files that others wrote: bounded, and only files.

A path in a store may be a pipe that never ends, a device, or ten gigabytes. What is read here is a regular file of a
size that a record can have, and its text acts on nothing.
"""

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.records.text import plain

__all__ = ["RECORD_BYTES", "cleaned", "duplicate_key", "is_clean", "read_regular"]

RECORD_BYTES = 16 * 2**20
"""The largest record; a run with thousands of points on its curve has about one megabyte."""

_SUSPECT = re.compile(rb"\\[bfrntu]|[\x7f-\xff]")
"""JSON may hold what acts on a terminal only as an escape, or outside ASCII."""


def read_regular(path: Path, most: int = RECORD_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        FileNotFoundError: there is nothing.
        StoreError: it is no regular file, larger than `most` bytes, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise FileNotFoundError(path) from None
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path} is no regular file. Remove it.")
        if found.st_size > most:
            raise StoreError(
                f"{path} has {found.st_size} bytes, more than {most}: it is no record of bench. Remove it."
            )
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(handle)


def is_clean(content: bytes) -> bool:
    """Whether JSON text surely holds nothing that acts on a terminal, nor lines; False where one has to look."""
    if content.isascii() and b"\\" not in content and b"\x7f" not in content:  # as most are: seen at once
        return True
    return _SUSPECT.search(content) is None


def cleaned(value: Any, lines: bool = False) -> Any:
    """A JSON value whose texts and keys act on nothing and are one line each; `error` at the top keeps its lines."""
    if isinstance(value, str):
        text = plain(value)
        return text if lines else text.replace("\n", "\\n").replace("\t", "\\t")
    if isinstance(value, list):
        return [cleaned(each) for each in value]
    if isinstance(value, dict):
        return {cleaned(key): cleaned(each) for key, each in value.items()}
    return value


def duplicate_key(content: bytes) -> str | None:
    """A key that JSON text gives twice in one object: readers differ in which they take."""
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            seen: set[str] = set()
            twice.extend(key for key, _ in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return made

    json.loads(content, object_pairs_hook=pairs)
    return twice[0] if twice else None
