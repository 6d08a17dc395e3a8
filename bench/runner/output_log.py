"""What a run's process prints, in one file that stays small: the beginning, and the end.

The file is made with the first byte, so a run that prints nothing has none. It can be read in a terminal: what acts on
one is written as an escape.
"""

import codecs
from contextlib import suppress
from pathlib import Path

from bench.records.text import plain

__all__ = ["LOG", "OutputLog"]

LOG = "log.txt"
_HEAD = 1 << 20
_TAIL = 1 << 16


class OutputLog:
    """A log file, filled as bytes come.

    Args:
        path: the file; one of an earlier attempt is written over.
        head, tail: characters that are kept of the beginning and of the end.
    """

    def __init__(self, path: Path, head: int = _HEAD, tail: int = _TAIL) -> None:
        self._path, self._head, self._tail = path, head, tail
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._kept = 0
        self._rest, self._left_out = "", 0
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def write(self, content: bytes) -> None:
        """Takes what was printed."""
        if self._kept >= self._head and len(content) > self._tail:  # a flood: only its end can be of use
            self._left_out += len(content) - self._tail
            content = content[-self._tail :]
        text = self._decoder.decode(content)
        room = self._head - self._kept
        if room > 0:
            self._append(plain(text[:room]))
            self._kept += min(room, len(text))
            text = text[room:]
        if text:
            self._left_out += max(0, len(self._rest) + len(text) - self._tail)
            self._rest = (self._rest + text)[-self._tail :]

    def close(self) -> None:
        """Writes the end of a long output."""
        if self._left_out:
            self._append(f"\n[... {self._left_out} characters were left out here ...]\n")
        if self._rest:
            self._append(plain(self._rest))
        self._rest, self._left_out = "", 0

    def _append(self, text: str) -> None:
        """A log that cannot be written does not end a run."""
        if text:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(text)
