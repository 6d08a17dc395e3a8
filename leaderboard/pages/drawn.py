"""Which pages of a folder are drawn already, and from what: kept beside them, believed only as far as files agree.

`.drawn.json` says for each page what it was made from (a key), and its size and time as it was written. A page that
somebody changed, or whose key or whose drawing code is another, is drawn again; without the file all are.
"""

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from bench.records.reading import read_regular
from bench.records.store import write_text
from bench.specs.run import package_sha256

__all__ = ["DrawnPages"]

_FILE = ".drawn.json"
_MOST_BYTES = 200 * 2**20


class DrawnPages:
    """What is known of the pages of one folder.

    Args:
        root: the folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before = self._read()
        self._now: dict[str, list[str | int]] = {}

    def keep(self, name: str, key: str) -> bool:
        """Whether the page is there as it was drawn from what `key` stands for; it then stays known."""
        stamp = self._stamp(name)
        if stamp is None or self._before.get(name) != [key, *stamp]:
            return False
        self._now[name] = [key, *stamp]
        return True

    def note(self, name: str, key: str) -> None:
        """The page has just been drawn from what `key` stands for."""
        stamp = self._stamp(name)
        if stamp is not None:
            self._now[name] = [key, *stamp]

    def save(self) -> None:
        """Writes what is known; the pages that were neither kept nor noted are forgotten.

        Raises:
            StoreError: the folder cannot be written.
        """
        write_text(self._root / _FILE, json.dumps({"by": _drawn_by(), "pages": self._now}))

    def _stamp(self, name: str) -> tuple[int, int] | None:
        try:
            found = (self._root / name).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def _read(self) -> dict[str, list[str | int]]:
        try:
            found = json.loads(read_regular(self._root / _FILE, _MOST_BYTES))
            return dict(found["pages"]) if found["by"] == _drawn_by() else {}
        except Exception:  # whatever lies there, the pages are drawn again
            return {}


@cache
def _drawn_by() -> str:
    """Hash over the code that draws a page from a record."""
    found = hashlib.sha256(package_sha256().encode())
    folder = Path(str(files("bench.leaderboard.pages")))
    for path in sorted(each for each in folder.rglob("*") if each.suffix in (".py", ".html")):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()
