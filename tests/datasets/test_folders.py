"""ImageNet and Caltech-256 as folders that the user has: small ones of the same layout."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from bench.data.base import Dataset, dataset
from bench.data.splits import load_data
from bench.datasets.caltech256 import Caltech256
from bench.datasets.imagenet import ImageNet
from bench.errors import DataError
from bench.plugins import registered
from bench.specs.track import Validation, load_track


class SmallImageNet(ImageNet):
    """Three classes."""

    name = "imagenet"
    classes, counts = 3, (9, 6)


class SmallCaltech(Caltech256):
    """Three classes, four training images of each."""

    name = "caltech256"
    classes, per_class, counts = 3, 4, (12, 6)


def saved(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (20, 14)).save(path, "JPEG")


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for wnid in ("n03", "n01", "n02"):
        for number in range(3):
            saved(tmp_path / f"imagenet/train/{wnid}/{wnid}_{number}.JPEG", ["RGB", "L", "CMYK"][number])
        for number in range(2):
            saved(tmp_path / f"imagenet/val/{wnid}/val_{wnid}_{number}.JPEG")
    return tmp_path


@pytest.fixture
def caltech(tmp_path: Path) -> Path:
    for label, name in enumerate(("001.ak47", "002.flag", "257.clutter"), start=1):
        for number in range(1, 6 + (label == 1) - (label == 2) + 1):
            saved(tmp_path / f"256_ObjectCategories/{name}/{label:03}_{number:04}.jpg")
    (tmp_path / "256_ObjectCategories/002.flag/RENAME2").write_text("a stray file, as in the published archive")
    (tmp_path / "256_ObjectCategories/002.flag/greg").mkdir()
    return tmp_path


def test_imagenet_is_read_by_class(imagenet: Path) -> None:
    train, test = SmallImageNet().load(imagenet)
    assert train.root == imagenet
    assert train.names[2:4] == ("imagenet/train/n01/n01_2.JPEG", "imagenet/train/n02/n02_0.JPEG")
    assert list(train.names) == sorted(train.names)
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert train.bytes[3] == (imagenet / train.names[3]).stat().st_size


def test_a_track_reads_imagenet_at_its_size(imagenet: Path) -> None:
    track = load_track("imagenet-resnet50").model_copy(update={"validation": Validation(images=3)})
    with registered("bench.datasets", "bench.datasets", Dataset, SmallImageNet):
        data = load_data(track, imagenet, "cpu")
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 3, 6)
    pixels, labels = next(data.test_batches())
    assert (pixels.shape, labels.tolist()) == ((6, 3, 224, 224), [0, 0, 1, 1, 2, 2])
    black = torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(pixels[0, :, 100, 100], black)


def test_caltech_is_split_within_each_class(caltech: Path) -> None:
    train, test = SmallCaltech().load(caltech)
    assert train.labels.bincount().tolist() == [4, 4, 4]
    assert test.labels.bincount().tolist() == [3, 1, 2]
    assert not {*train.names} & {*test.names}
    again, _ = SmallCaltech().load(caltech)
    assert again.names == train.names
    assert list(train.names) == sorted(train.names)
    # sha256 of "256:0" to "256:4" begins with 8d, c3, 36, c7, b5, so that the fourth image of five is left
    assert [name for name in test.names if "flag" in name] == ["256_ObjectCategories/002.flag/002_0004.jpg"]


def test_caltech_may_lie_where_torchvision_puts_it(caltech: Path) -> None:
    expected, _ = SmallCaltech().load(caltech)
    (caltech / "caltech256").mkdir()
    (caltech / "256_ObjectCategories").rename(caltech / "caltech256/256_ObjectCategories")
    train, _ = SmallCaltech().load(caltech)
    assert train.names == tuple(f"caltech256/{name}" for name in expected.names)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "imagenet",
            r"imagenet/train cannot be read.*ILSVRC2012_img_train.tar.*image-net.org.*--data DIR or BENCH_DATA"
            r".*DIR/imagenet/train/<wnid>/\*.JPEG.*DIR/imagenet/val/<wnid>.*1,000.*1,281,167 for training, 50,000",
        ),
        (
            "caltech256",
            r"256_ObjectCategories cannot be read.*data.caltech.edu.*--data DIR or BENCH_DATA"
            r".*DIR/256_ObjectCategories/<NNN.name>/\*.jpg.*257.*15,420 for training, 15,187 for test",
        ),
    ],
)
def test_a_missing_folder_is_answered_with_what_must_be_there(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"(?s)data set '{name}' cannot be used: .*{said}"):
        dataset(name).load(tmp_path)


def test_counts_are_the_published_ones() -> None:
    assert (ImageNet.classes, ImageNet.counts) == (1000, (1_281_167, 50_000))
    assert Caltech256.counts == (257 * 60, 30_607 - 257 * 60)


def test_a_missing_class_is_refused(imagenet: Path) -> None:
    (imagenet / "imagenet/val/n03").rename(imagenet / "imagenet/n03")
    with pytest.raises(DataError, match=r"val holds 2 class folders, not 3"):
        SmallImageNet().load(imagenet)


def test_images_that_are_not_sorted_into_classes_are_refused(imagenet: Path) -> None:
    for path in (imagenet / "imagenet/val").glob("*/*"):
        path.rename(imagenet / "imagenet/val" / path.name)
    with pytest.raises(DataError, match=r"no images in .*val/n01 \(3 such classes\)"):
        SmallImageNet().load(imagenet)


def test_classes_of_other_names_in_test_are_refused(imagenet: Path) -> None:
    (imagenet / "imagenet/val/n03").rename(imagenet / "imagenet/val/n04")
    with pytest.raises(DataError, match=r"class folder n03 is in only one of"):
        SmallImageNet().load(imagenet)


def test_a_missing_image_is_refused(imagenet: Path) -> None:
    (imagenet / "imagenet/train/n02/n02_0.JPEG").unlink()
    with pytest.raises(DataError, match=r"there are 8 training and 6 test images, not 9 and 6"):
        SmallImageNet().load(imagenet)


def test_a_class_too_small_to_be_split_is_refused(caltech: Path) -> None:
    (caltech / "256_ObjectCategories/002.flag/002_0001.jpg").unlink()
    with pytest.raises(DataError, match=r"002.flag holds 4 images; more than 4 are needed"):
        SmallCaltech().load(caltech)
