"""The data sets: shapes, labels and statistics; the downloaded ones only where a folder holds them."""

import hashlib
import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

from bench.data.base import Images, dataset, dataset_names
from bench.data.splits import statistics
from bench.datasets import cifar100
from bench.datasets.digits import enlarged
from bench.errors import DataError

BUNDLED = {"digits": (1397, 400), "digits-rgb": (1397, 400)}
DOWNLOADED = {
    "mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar10-5class": (25_000, 5_000),
    "cifar10-2class": (10_000, 2_000),
    "cifar100": (50_000, 10_000),
}
FOLDERS = {"mnist": "MNIST/raw", "cifar100": "cifar-100-python"}  # of the others: CIFAR-10's


def real_data(name: str) -> Path:
    """The folder with the published files of a data set; without them the test is skipped."""
    folder = os.environ.get("BENCH_TEST_DATA")
    needed = FOLDERS.get(name, "cifar-10-batches-py")
    if not folder or not (Path(folder) / needed).is_dir():
        pytest.skip(f"BENCH_TEST_DATA names no folder with {needed}, as torchvision lays it out")
    return Path(folder)


def check(name: str, folder: Path, sizes: tuple[int, int]) -> None:
    source = dataset(name)
    for part, images in zip(source.load(folder), sizes, strict=True):
        assert part.pixels.dtype == torch.uint8
        assert part.pixels.shape == (images, source.channels, source.size, source.size)
        assert part.labels.dtype == torch.int64
        assert part.labels.unique().tolist() == list(range(source.classes))
    mean, std = statistics(name, folder)
    assert source.mean == mean
    assert source.std == std


def test_all_data_sets_are_found() -> None:
    assert set(dataset_names()) >= {*BUNDLED, *DOWNLOADED, "imagenet", "caltech256"}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, BUNDLED[name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", DOWNLOADED)
def test_downloaded(name: str) -> None:
    check(name, real_data(name), DOWNLOADED[name])


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_same_images_as_torchvision(name: str) -> None:
    import torchvision.datasets

    folder = real_data(name)
    _, test = dataset(name).load(folder)
    theirs = getattr(torchvision.datasets, name.upper())(folder, train=False)
    pixels = torch.as_tensor(theirs.data)
    pixels = pixels[:, None] if name == "mnist" else pixels.permute(0, 3, 1, 2)
    assert torch.equal(test.pixels, pixels)
    assert test.labels.tolist() == list(theirs.targets)


def test_a_truncated_mnist_file_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(real_data("mnist") / "MNIST" / "raw", raw)
    damaged = raw / "t10k-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{damaged} is damaged"):
        dataset("mnist").load(tmp_path)


@pytest.fixture
def tiny_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `cifar-100-python.tar.gz` in the published form, of three training images and one for test.

    A stored row is 1,024 red, then 1,024 green, then 1,024 blue values; image i has red i, green 100 + i, blue 200 + i.
    """

    def stored(labels: list[int]) -> bytes:
        rows = torch.tensor([[i, 100 + i, 200 + i] for i in range(len(labels))], dtype=torch.uint8)
        data = rows.repeat_interleave(1024, dim=1).numpy()
        coarse = [0] * len(labels)
        return pickle.dumps({"data": data, "fine_labels": labels, "coarse_labels": coarse, "filenames": ["x.png"]})

    files = {"train": stored([19, 99, 0]), "test": stored([42]), "meta": pickle.dumps({"fine_label_names": []})}
    with tarfile.open(tmp_path / "cifar-100-python.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for name in cifar100._PUBLISHED.digests:
        digest = hashlib.md5(files[name], usedforsecurity=False).hexdigest()
        monkeypatch.setitem(cifar100._PUBLISHED.digests, name, digest)
    return tmp_path


def test_cifar100_as_published(tiny_cifar100: Path) -> None:
    train, test = dataset("cifar100").load(tiny_cifar100)
    assert isinstance(train, Images) and isinstance(test, Images)
    assert train.pixels.shape == (3, 3, 32, 32)
    assert train.labels.tolist() == [19, 99, 0]  # the fine ones
    for number, image in enumerate(train.pixels):
        assert [channel.unique().tolist() for channel in image] == [[number], [100 + number], [200 + number]]
    assert (test.pixels.shape, test.labels.tolist()) == ((1, 3, 32, 32), [42])


def test_cifar100_of_other_bytes_is_refused(tiny_cifar100: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cifar100._PUBLISHED.digests, "test", "0" * 32)
    with pytest.raises(DataError, match=r"cifar-100-python\.tar\.gz is damaged: the MD5 of its test is"):
        dataset("cifar100").load(tiny_cifar100)


def test_digits_are_split_by_class() -> None:
    train, test = dataset("digits").load(Path())
    share = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    assert (share - 400 / 1797).abs().max() < 0.006


def test_rgb_digits_have_equal_channels_and_the_same_split() -> None:
    (grey, _), (rgb, _) = dataset("digits").load(Path()), dataset("digits-rgb").load(Path())
    assert torch.equal(rgb.pixels[:, 0], rgb.pixels[:, 1])
    assert torch.equal(rgb.pixels[:, 0], rgb.pixels[:, 2])
    assert torch.equal(rgb.labels, grey.labels)


def test_enlarged_by_hand() -> None:
    # twice as large: an out pixel's centre lies a quarter of a stored pixel beside the nearest stored centre
    row = [0, 0.25, 0.75, 1]
    expected = [[int(255 * (15 / 16) * x + 0.5) for x in row]] * 4
    assert enlarged(torch.tensor([[[0, 15], [0, 15]]]), 4)[0].tolist() == expected


def test_enlarged_is_bilinear_interpolation() -> None:
    images = torch.randint(0, 17, (5, 8, 8), generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.functional.interpolate(images[:, None] * (255 / 16), size=28, mode="bilinear")[:, 0]
    assert (enlarged(images, 28) - theirs).abs().max() <= 0.5001
