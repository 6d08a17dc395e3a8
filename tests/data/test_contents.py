"""Streamed images are decoded once, all of them, before anything trains: what is damaged is named together."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bench.data.contents
from bench.data.base import ImageFiles
from bench.data.contents import contents
from bench.errors import DataError


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageFiles:
    """Ten images in five formats."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    for number in range(10):
        suffix = ("png", "jpg", "gif", "tif", "webp")[number % 5]
        Image.fromarray(draw.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(folder / f"{number}.{suffix}")
    names = tuple(sorted(path.name for path in folder.iterdir()))
    return ImageFiles(folder, names, (0,) * 10, torch.zeros(10, dtype=torch.int64))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def test_damaged_images_of_any_format_are_found_and_named_together(part: ImageFiles) -> None:
    assert len(set(contents("mine", part))) == 10
    for number, suffix in enumerate(("png", "jpg", "gif", "tif", "webp")):
        cut(part.root / f"{number}.{suffix}")
    (part.root / "5.png").write_text("no image")
    with pytest.raises(DataError, match=r"6 of 10 files cannot be read as images: .*0\.png \(.* and 1 more\. Put"):
        contents("mine", part)


def test_what_is_intact_is_not_decoded_twice(part: ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    look = bench.data.contents._damage

    def counted(content: bytes) -> str | None:
        decoded.append(len(content))
        return look(content)

    monkeypatch.setattr(bench.data.contents, "_damage", counted)
    content = (part.root / "3.tif").read_bytes()
    cut(part.root / "3.tif")
    with pytest.raises(DataError, match=r"1 of 10 files cannot be read as images: .*3\.tif"):
        contents("mine", part)
    (part.root / "3.tif").write_bytes(content)
    contents("mine", part)
    contents("mine", part)
    assert len(decoded) == 11


def test_long_ones_say_how_long(
    part: ImageFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.data.contents, "_SAID_AFTER_SECONDS", -1.0)
    contents("mine", part)
    assert "data set 'mine': 10 of 10 images read and decoded, once; about 0 min more" in capsys.readouterr().err
