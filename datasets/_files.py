"""Files of a published data set: found in the data folder, verified, and downloaded when they are not there.

Every file is checked against the MD5 of its content, whether it lies there as it is or packed as published: a
load returns the published bytes or says which file is damaged. A folder that holds the files is only read. A
download goes to a folder of its own beside them and is moved in place when it is complete; a lock lets one
process do it while others wait.
"""

import contextlib
import gzip
import hashlib
import http.client
import shutil
import socket
import sys
import tarfile
import threading
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from bench.errors import DataError

__all__ = ["Published", "contents"]

_ANSWER_SECONDS = 8
_STALL_SECONDS = 30
_DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError)
_UNREACHED = (OSError, RuntimeError, http.client.HTTPException)


@dataclass(frozen=True)
class Published:
    """Where a data set's files belong, and how they are known.

    Attributes:
        name: of the data set.
        folder: of the files, below the data folder; as torchvision lays them out.
        digests: MD5 of each file's content, by file name.
        archive: packed form, below the data folder; `{name}` stands for the file's name. A `.tar.gz` holds
            all files, any other `.gz` the one.
        url: an address of the server, asked first, so that a missing network is noticed within seconds.
        fetch: downloads everything below the folder it is given, in the same layout.
    """

    name: str
    folder: str
    digests: Mapping[str, str]
    archive: str
    url: str
    fetch: Callable[[Path], object]

    def path(self, root: Path, name: str) -> Path:
        """Where the file belongs below the data folder `root`."""
        return root / self.folder / name

    def packed(self, root: Path, name: str) -> Path:
        """The archive that may stand in for the file."""
        return root / self.archive.format(name=name)

    def missing(self, root: Path) -> list[str]:
        """Names of the files that are there neither as they are nor packed."""
        return [
            name
            for name in self.digests
            if not self.path(root, name).is_file() and not self.packed(root, name).is_file()
        ]


def contents(root: Path, published: Published) -> dict[str, bytes]:
    """The content of each file, by name: from the data folder `root`, else downloaded to it.

    Raises:
        DataError: a file is damaged, or is missing and cannot be downloaded.
    """
    if published.missing(root):
        _download(root, published)
    found: dict[str, bytes] = {}
    packed: dict[Path, list[str]] = {}
    for name in published.digests:
        path = published.path(root, name)
        if path.is_file():
            found[name] = _verified(path, name, _read(path), published)
        else:
            packed.setdefault(published.packed(root, name), []).append(name)
    for archive, names in packed.items():
        unpacked = _unpacked(archive, names)
        found |= {name: _verified(archive, name, unpacked.get(name), published) for name in names}
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Make it readable for this user.") from error


def _unpacked(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as tar:
                members = ((member, Path(member.name).name) for member in tar if member.isfile())
                return {name: tar.extractfile(each).read() for each, name in members if name in names}  # type: ignore[union-attr]
        with gzip.open(archive) as file:
            return {names[0]: file.read()}
    except _DAMAGED as error:
        raise _damaged(archive, f"it cannot be unpacked ({error})") from error


def _verified(path: Path, name: str, content: bytes | None, published: Published) -> bytes:
    if content is None:
        raise _damaged(path, f"it holds no file {name}")
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != published.digests[name]:
        what = "its MD5" if path.name == name else f"the MD5 of its {name}"
        raise _damaged(path, f"{what} is {digest}, the published file's {published.digests[name]}")
    return content


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is damaged: {why}. Delete it and run again to have it downloaded, or name a folder with "
        f"an intact copy: --data DIR or BENCH_DATA."
    )


def _download(root: Path, published: Published) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{published.name}.lock"):
            if published.missing(root):
                _fetch(root, published)
    except _UNREACHED as error:
        reason = getattr(error, "reason", error)
        expected = sorted({published.packed(Path("DIR"), name).as_posix() for name in published.digests})
        raise DataError(
            f"data set {published.name!r} is not complete: {', '.join(published.missing(root))} not in "
            f"{root / published.folder}, and the download failed ({reason}). Name a folder that has them "
            f"with --data DIR or BENCH_DATA (unpacked in DIR/{published.folder}/, or packed as "
            f"{', '.join(expected)}), or run again with a network and a folder that can be written to."
        ) from error


def _fetch(root: Path, published: Published) -> None:
    part = root / f".{published.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        _await_answer(published.url)
        print(f"downloading data set {published.name!r} to {root}", file=sys.stderr)
        with contextlib.redirect_stdout(sys.stderr), _stall_limit():
            published.fetch(part)
        (root / published.folder).mkdir(parents=True, exist_ok=True)
        for path in (part / published.folder).iterdir():
            target = published.path(root, path.name)
            if not target.exists():
                path.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _await_answer(url: str) -> None:
    """Returns once the server answers; in a thread, since timeouts add up over its addresses."""
    errors: list[Exception] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_ANSWER_SECONDS).close()
        except _UNREACHED as error:
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"no answer from {url} within {_ANSWER_SECONDS} s")
    if errors:
        raise errors[0]


@contextlib.contextmanager
def _stall_limit() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
