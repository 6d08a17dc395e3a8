"""The data sets: shapes, labels and statistics; the downloaded ones only where a folder holds them."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from bench.data.base import dataset, dataset_names
from bench.data.splits import statistics
from bench.datasets.digits import enlarged
from bench.errors import DataError

BUNDLED = {"digits": (1397, 400), "digits-rgb": (1397, 400)}
DOWNLOADED = {
    "mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar10-5class": (25_000, 5_000),
    "cifar10-2class": (10_000, 2_000),
}


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("BENCH_TEST_DATA")
    if not folder:
        pytest.skip("BENCH_TEST_DATA names no folder with MNIST and CIFAR-10 in torchvision's layout")
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
def test_downloaded(name: str, real_data: Path) -> None:
    check(name, real_data, DOWNLOADED[name])


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_same_images_as_torchvision(name: str, real_data: Path) -> None:
    import torchvision.datasets

    _, test = dataset(name).load(real_data)
    theirs = getattr(torchvision.datasets, name.upper())(real_data, train=False)
    pixels = torch.as_tensor(theirs.data)
    pixels = pixels[:, None] if name == "mnist" else pixels.permute(0, 3, 1, 2)
    assert torch.equal(test.pixels, pixels)
    assert test.labels.tolist() == list(theirs.targets)


def test_a_truncated_mnist_file_is_named(real_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(real_data / "MNIST" / "raw", raw)
    damaged = raw / "t10k-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{damaged} is damaged"):
        dataset("mnist").load(tmp_path)


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
