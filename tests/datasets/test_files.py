"""Finding, verifying and downloading files, with a tiny data set of two files."""

import gzip
import hashlib
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest

from bench.datasets import _files
from bench.datasets._files import Published, contents
from bench.errors import DataError

CONTENT = {"one": b"first file", "two": b"second file"}


def published(archive: str = "tiny/{name}.gz", fetch=None) -> Published:
    def write(root: Path) -> None:
        (root / "tiny").mkdir()
        for name, content in CONTENT.items():
            (root / "tiny" / name).write_bytes(content)

    return Published(
        name="tiny",
        folder="tiny",
        digests={name: hashlib.md5(content).hexdigest() for name, content in CONTENT.items()},
        archive=archive,
        url="https://nowhere.invalid/",
        fetch=fetch or write,
    )


def place(root: Path, *names: str) -> None:
    (root / "tiny").mkdir(exist_ok=True)
    for name in names:
        (root / "tiny" / name).write_bytes(CONTENT[name])


def listing(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "_await_answer", lambda url: None)


def test_a_folder_with_the_files_is_only_read(tmp_path: Path) -> None:
    place(tmp_path, "one", "two")
    assert contents(tmp_path, published()) == CONTENT
    assert listing(tmp_path) == {"tiny/one", "tiny/two"}


def test_a_file_may_be_packed_by_itself(tmp_path: Path) -> None:
    place(tmp_path, "one")
    (tmp_path / "tiny" / "two.gz").write_bytes(gzip.compress(CONTENT["two"]))
    assert contents(tmp_path, published()) == CONTENT
    assert listing(tmp_path) == {"tiny/one", "tiny/two.gz"}


def pack(root: Path, *names: str) -> Path:
    place(root, *names)
    with tarfile.open(root / "tiny.tar.gz", "w:gz") as tar:
        tar.add(root / "tiny", "tiny")
    for name in names:
        (root / "tiny" / name).unlink()
    return root / "tiny.tar.gz"


def test_all_files_may_be_packed_together(tmp_path: Path) -> None:
    pack(tmp_path, "one", "two")
    assert contents(tmp_path, published("tiny.tar.gz")) == CONTENT


def test_a_changed_file_is_named_with_the_next_action(tmp_path: Path) -> None:
    place(tmp_path, "one", "two")
    path = tmp_path / "tiny" / "two"
    path.write_bytes(b"second fill")
    with pytest.raises(DataError) as error:
        contents(tmp_path, published())
    assert str(error.value).startswith(f"{path} is damaged: its MD5 is ")
    assert "Delete it and run again" in str(error.value)
    assert "--data DIR" in str(error.value)


def test_a_truncated_gz_is_named(tmp_path: Path) -> None:
    place(tmp_path, "one")
    path = tmp_path / "tiny" / "two.gz"
    path.write_bytes(gzip.compress(CONTENT["two"])[:-9])
    with pytest.raises(DataError, match=r"two\.gz is damaged: it cannot be unpacked"):
        contents(tmp_path, published())


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path, "one", "two")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"tiny\.tar\.gz is damaged: it cannot be unpacked"):
        contents(tmp_path, published("tiny.tar.gz"))


def test_an_archive_without_a_file_is_named(tmp_path: Path) -> None:
    pack(tmp_path, "one")
    with pytest.raises(DataError, match=r"tiny\.tar\.gz is damaged: it holds no file two"):
        contents(tmp_path, published("tiny.tar.gz"))


def test_without_a_network_the_error_names_files_folder_and_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(request: object, timeout: float) -> None:
        raise URLError("no such host")

    monkeypatch.setattr(_files.urllib.request, "urlopen", unreachable)
    place(tmp_path, "one")
    with pytest.raises(DataError) as error:
        contents(tmp_path, published())
    text = str(error.value)
    for part in (
        "data set 'tiny'",
        "two not in",
        str(tmp_path / "tiny"),
        "--data DIR",
        "BENCH_DATA",
        "DIR/tiny/",
    ):
        assert part in text
    assert "one," not in text
    assert listing(tmp_path) <= {"tiny/one", ".tiny.lock"}


def test_a_server_that_does_not_answer_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, ended = threading.Event(), threading.Event()

    def silent(request: object, timeout: float) -> None:
        given_up.wait(10)
        ended.set()
        raise URLError("too late")

    monkeypatch.setattr(_files, "_ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(_files.urllib.request, "urlopen", silent)
    with pytest.raises(DataError, match="no answer from https://nowhere"):
        contents(tmp_path, published())
    given_up.set()
    assert ended.wait(10)


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="a folder that can be written to"):
        contents(tmp_path / "file" / "data", published())


@pytest.mark.usefixtures("online")
def test_a_download_brings_what_is_missing_and_leaves_the_rest(tmp_path: Path) -> None:
    place(tmp_path, "one")
    before = (tmp_path / "tiny" / "one").stat()
    assert contents(tmp_path, published()) == CONTENT
    assert (tmp_path / "tiny" / "one").stat().st_ino == before.st_ino
    assert listing(tmp_path) - {".tiny.lock"} == {"tiny/one", "tiny/two"}


@pytest.mark.usefixtures("online")
def test_a_download_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def breaks(root: Path) -> None:
        (root / "tiny").mkdir()
        (root / "tiny" / "one").write_bytes(b"fir")
        raise RuntimeError("File not found or corrupted.")

    with pytest.raises(DataError, match="File not found or corrupted"):
        contents(tmp_path, published(fetch=breaks))
    assert listing(tmp_path) <= {".tiny.lock"}


@pytest.mark.usefixtures("online")
def test_a_download_prints_nothing_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = published()

    def talks(root: Path) -> None:
        print("100%")
        given.fetch(root)

    contents(tmp_path, replace(given, fetch=talks))
    out, err = capsys.readouterr()
    assert out == ""
    assert "downloading data set 'tiny'" in err
    assert "100%" in err


@pytest.mark.usefixtures("online")
def test_only_one_of_two_downloads(tmp_path: Path) -> None:
    given, calls, results = published(), [], []

    def slow(root: Path) -> None:
        calls.append(root)
        time.sleep(0.2)
        given.fetch(root)

    def load() -> None:
        results.append(contents(tmp_path, replace(given, fetch=slow)))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert results == [CONTENT, CONTENT]
