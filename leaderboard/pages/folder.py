"""The folder that pages are written to: what has not changed is left alone, and our pages that are gone are removed."""

from collections.abc import Iterable
from pathlib import Path

from bench.errors import StoreError
from bench.records.store import write_atomically

__all__ = ["GENERATOR", "PageFolder"]

GENERATOR = '<meta name="generator" content="bench leaderboard">'
"""In the head of every page that we wrote, and may therefore remove."""


class PageFolder:
    """One folder of pages.

    A page of a run is written without waiting for the disk, since there may be ten thousand: what a kill leaves of one
    is written again with the next page. The index comes last, and whole.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: set[str] = set()

    def write(self, name: str, text: str) -> None:
        """Writes a page unless it is there with the same text.

        Raises:
            StoreError: the folder cannot be written, or the disk is full.
        """
        self._names.add(name)
        path, content = self.root / name, text.encode("utf-8", "backslashreplace")
        try:
            if path.is_file() and path.read_bytes() == content:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"cannot write {path}: {reason}. Free some space, or give another folder.") from None

    def keep(self, name: str) -> None:
        """A page that was written before stays."""
        self._names.add(name)

    def write_last(self, name: str, text: str) -> Path:
        """Writes the page that makes the others current: whole or not at all, and on the disk before it returns.

        Raises:
            StoreError: the folder cannot be written, or the disk is full.
        """
        self._names.add(name)
        path = self.root / name
        write_atomically(path, lambda temporary: _write(temporary, text))
        return path

    def remove_others(self, kinds: Iterable[str]) -> None:
        """Removes our pages of these kinds that were not written."""
        for kind in kinds:
            for path in self.root.glob(f"{kind}-*.html"):
                if path.name not in self._names and _is_ours(path):
                    path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def _is_ours(page: Path) -> bool:
    with page.open(encoding="utf-8", errors="replace") as file:
        return GENERATOR in file.read(2000)
