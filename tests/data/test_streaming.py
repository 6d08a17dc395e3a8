"""Images in files: what is decoded, what is drawn, and that neither threads nor interruptions change a bit."""

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.data.base import Dataset, ImageFiles, dataset
from bench.data.splits import Data, check_augmentation, load_data, split_files, statistics, training_batches
from bench.data.streaming import StreamedSplit, augmented, centred, crop_box, decoders, read_image
from bench.errors import DataError, UsageError
from bench.plugins import registered
from bench.specs.track import Recipe, Validation, load_track

AUGMENT = ("resized-crop", "flip")


class Tiles(Dataset):
    """Four classes of a folder each; image i of a class has the colour (40 * class, i, 200)."""

    name = "tiles"
    summary = reference = "made up"
    channels, size, classes = 3, 16, 4
    mean, std = (0.5,) * 3, (0.25,) * 3
    flip = streamed = True

    def load(self, folder: Path) -> tuple[ImageFiles, ImageFiles]:
        return listed(folder, "train"), listed(folder, "test")


def listed(folder: Path, part: str) -> ImageFiles:
    paths = sorted((folder / part).glob("*/*.png"))
    return ImageFiles(
        folder,
        tuple(path.relative_to(folder).as_posix() for path in paths),
        tuple(path.stat().st_size for path in paths),
        torch.tensor([int(path.parent.name) for path in paths]),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 training and 8 test images of 20x30, by class."""
    for part, count in (("train", 10), ("test", 2)):
        for label in range(4):
            (tmp_path / part / str(label)).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (30, 20), (40 * label, number, 200))
                image.save(tmp_path / part / str(label) / f"{number}.png")
    return tmp_path


@pytest.fixture
def data(folder: Path) -> Data:
    return tiled(folder)


def tiled(folder: Path, images: int = 8, seed: int = 0) -> Data:
    train, test = Tiles().load(folder)
    return split_files(Tiles(), train, test, Validation(images=images, seed=seed), torch.device("cpu"))


def recipe(batch_size: int = 5, augment: tuple[str, ...] = AUGMENT) -> Recipe:
    return Recipe(learning_rate=0.1, batch_size=batch_size, augment=augment)  # type: ignore[arg-type]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colours(data: Data, batches: list[tuple[Tensor, Tensor]]) -> list[tuple[int, int]]:
    """Red and green of the middle pixel of each image: 40 * class, number in the class."""
    images = torch.cat([pixels for pixels, _ in batches]) * 0.25 + 0.5
    return [tuple((image[:2, 8, 8] * 255).round().int().tolist()) for image in images]  # type: ignore[misc]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


# splitting and evaluating


def test_validation_is_carved_from_train_by_class(data: Data) -> None:
    assert (len(data.train), len(data.validation), len(data.test)) == (32, 8, 8)
    assert isinstance(data.train, StreamedSplit) and isinstance(data.validation, StreamedSplit)
    assert len({*data.train.names, *data.validation.names}) == 40
    assert data.validation.labels.bincount().tolist() == [2, 2, 2, 2]
    assert (data.shape, data.device) == ((3, 16, 16), torch.device("cpu"))


def test_images_stay_with_their_labels_in_order(data: Data) -> None:
    batches = list(data.test_batches(batch_size=3))
    assert [len(labels) for _, labels in batches] == [3, 3, 2]
    assert colours(data, batches) == [(40 * label, number) for label in range(4) for number in range(2)]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    pixels, _ = batches[0]
    assert (pixels.dtype, pixels.shape) == (torch.float32, (3, 3, 16, 16))
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert sum(len(labels) for _, labels in data.plain_training_batches(images=7)) == 7


def test_a_method_gets_no_test_image(data: Data) -> None:
    assert len(data.for_method().test) == 0
    assert list(data.for_method().test_batches()) == []


def test_images_at_places_are_those_of_evaluation(data: Data) -> None:
    pixels, labels = data.train.at(torch.tensor([7, 2]))
    stored = torch.cat([each for each, _ in data.plain_training_batches(batch_size=10)])
    assert torch.equal(data.normaliser(pixels), stored[[7, 2]])
    assert labels.tolist() == data.train.labels[[7, 2]].tolist()


def test_some_classes_alone_are_the_same_images(data: Data) -> None:
    some = data.with_classes(2)
    wanted = [place for place, label in enumerate(data.train.labels.tolist()) if label < 2]
    assert 0 < len(some.train) == len(wanted) < len(data.train)
    pixels, labels = some.train.at(torch.arange(len(wanted)))
    expected, expected_labels = data.train.at(torch.tensor(wanted))
    assert torch.equal(pixels, expected) and torch.equal(labels, expected_labels)
    assert set(some.validation.labels.tolist()) == {0, 1}


def test_fingerprint_is_of_names_sizes_labels_and_the_validation_split(folder: Path) -> None:
    prints = [tiled(folder).fingerprint, tiled(folder, seed=1).fingerprint, tiled(folder, images=4).fingerprint]
    assert tiled(folder).fingerprint == prints[0]
    image = folder / "train/1/3.png"
    image.write_bytes(image.read_bytes() + b"\0")
    prints.append(tiled(folder).fingerprint)
    image.rename(folder / "train/1/33.png")
    prints.append(tiled(folder).fingerprint)
    (folder / "train/1/33.png").rename(folder / "test/1/33.png")
    prints.append(tiled(folder).fingerprint)
    assert len(set(prints)) == 6


def test_statistics_by_hand(folder: Path) -> None:
    with registered("bench.datasets", "bench.datasets", Dataset, Tiles):
        mean, std = statistics("tiles", folder)
    assert mean == (round(60 / 255, 4), round(4.5 / 255, 4), round(200 / 255, 4))
    assert std == (round(2000**0.5 / 255, 4), round(8.25**0.5 / 255, 4), 0.0)


# epochs


def test_an_epoch_has_every_image_once_in_a_new_order(data: Data) -> None:
    drawing = generator()
    first, second = (colours(data, list(training_batches(data, recipe(), drawing))) for _ in range(2))
    assert isinstance(data.train, StreamedSplit)
    stored = [(40 * int(name[6]), int(Path(name).stem)) for name in data.train.names]
    assert sorted(first) == sorted(second) == sorted(stored)
    assert stored != first != second


@pytest.mark.parametrize("augment", [(), ("flip",), AUGMENT])
@pytest.mark.parametrize("threads", [1, 4])
def test_neither_threads_nor_skipping_change_a_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, augment: tuple[str, ...], threads: int
) -> None:
    for number, path in enumerate(sorted(folder.glob("train/*/*.png"))):
        noise(24, 20, number).save(path)
    data, given, again = tiled(folder), generator(3), generator(3)
    monkeypatch.setattr("bench.data.streaming.decoders", lambda: 2)
    whole = list(training_batches(data, recipe(augment=augment), given))
    monkeypatch.setattr("bench.data.streaming.decoders", lambda: threads)
    resumed = list(training_batches(data, recipe(augment=augment), again, start=3))
    assert len(whole) == 7
    assert len(resumed) == 4
    for (pixels, labels), (expected, truth) in zip(resumed, whole[3:], strict=True):
        assert torch.equal(pixels, expected)
        assert torch.equal(labels, truth)
    assert torch.equal(given.get_state(), again.get_state())


def test_all_is_drawn_at_the_call_and_nothing_is_decoded_before_it_is_wanted(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("bench.data.streaming.read_image", lambda path, *_: read.append(path) or read_image(path))
    whole, none = generator(), generator()
    batches = training_batches(data, recipe(), none, start=2)
    before = torch.get_rng_state(), random.getstate()
    assert not read
    list(training_batches(data, recipe(), whole))
    assert torch.equal(whole.get_state(), none.get_state())
    read.clear()
    assert len(list(batches)) == 5
    assert len(read) == 32 - 2 * 5
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_an_epoch_that_is_left_leaves_no_thread_and_reads_few_images(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("bench.data.streaming.read_image", lambda path, *_: read.append(path) or read_image(path))
    batches = training_batches(data, recipe(batch_size=2), generator())
    next(batches)
    del batches
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert len(read) <= 3 * 2


def test_there_is_a_thread_to_decode() -> None:
    assert decoders() >= 1


# images


def test_for_evaluation_the_short_side_is_scaled_and_the_centre_taken() -> None:
    from torchvision.transforms import CenterCrop, Compose, Resize

    image = noise(300, 260)
    theirs = Compose([Resize(256), CenterCrop(224)])(image)
    assert np.array_equal(np.array(centred(image, (224, 224))), np.array(theirs))


def test_without_a_flip_in_the_recipe_nothing_is_flipped_and_with_it_half_is() -> None:
    image = noise(16, 16)
    plain, mirrored = np.array(centred(image, (14, 14))), np.array(centred(image, (14, 14)))[:, ::-1]
    assert all(np.array_equal(np.array(augmented(image, (14, 14), (), seed)), plain) for seed in range(20))
    flips = [np.array_equal(np.array(augmented(image, (14, 14), ("flip",), seed)), mirrored) for seed in range(200)]
    assert 70 < sum(flips) < 130


def test_a_random_crop_is_scaled_like_torchvisions() -> None:
    from torchvision.transforms import functional

    image = noise(60, 40)
    left, top, width, height = crop_box(60, 40, random.Random(5))
    theirs = functional.resize(functional.crop(image, top, left, height, width), [32, 32])
    assert np.array_equal(np.array(augmented(image, (32, 32), ("resized-crop",), 5)), np.array(theirs))


def test_an_image_of_the_wanted_size_stays_as_it_is_without_a_margin() -> None:
    image = noise(80, 48)
    assert np.array_equal(np.array(centred(image, (48, 80), 1.0)), np.array(image))
    # 100x48 covers 48x80 at full height: ten columns go on either side; 80x60 loses six rows above and below
    assert np.array_equal(np.array(centred(noise(100, 48), (48, 80), 1.0)), np.array(noise(100, 48))[:, 10:90])
    assert np.array_equal(np.array(centred(noise(80, 60), (48, 80), 1.0)), np.array(noise(80, 60))[6:54])


def test_random_crops_have_the_aspect_of_what_they_are_scaled_to() -> None:
    boxes = [crop_box(1000, 1000, random.Random(seed), 80 / 48) for seed in range(300)]
    assert all(0.74 < wide / tall / (80 / 48) < 1.35 for _, _, wide, tall in boxes)
    assert np.array(augmented(noise(90, 90), (48, 80), ("resized-crop",), 3)).shape == (48, 80, 3)


@pytest.mark.parametrize(("width", "height"), [(50, 40), (40, 50), (1, 1), (3, 200)])
def test_crops_lie_inside_the_image(width: int, height: int) -> None:
    draw = random.Random(0)
    for _ in range(300):
        left, top, wide, tall = crop_box(width, height, draw)
        assert wide > 0 and tall > 0
        assert 0 <= left <= width - wide
        assert 0 <= top <= height - tall


def test_crops_have_the_areas_and_aspects_that_are_allowed() -> None:
    boxes = [crop_box(1000, 1000, random.Random(seed)) for seed in range(500)]
    areas = [wide * tall / 1e6 for _, _, wide, tall in boxes]
    assert 0.079 < min(areas) < 0.12
    assert 0.8 < max(areas) <= 1
    assert all(0.74 < wide / tall < 1.34 for _, _, wide, tall in boxes)


def test_an_image_too_narrow_for_any_crop_gives_its_centre() -> None:
    assert crop_box(4, 1000, random.Random(0)) == (0, 497, 4, 5)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1", "LA"])
def test_other_colours_are_converted(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new("RGB", (9, 7), (255, 255, 255)).convert(mode).save(path)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (9, 7))
    assert min(image.getpixel((4, 4))) >= 250  # type: ignore[type-var, arg-type]


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def damage_text(path: Path) -> None:
    path.write_text("this is no image")


@pytest.mark.parametrize("damage", [damage_cut, damage_text, Path.unlink], ids=["cut", "text", "gone"])
def test_a_file_that_is_no_image_is_named_with_the_next_action(
    folder: Path, data: Data, damage: Callable[[Path], None]
) -> None:
    damage(folder / "test/1/1.png")
    batches = data.test_batches(batch_size=3)
    assert len(next(batches)[1]) == 3
    with pytest.raises(DataError, match=r"test/1/1.png cannot be read as an image .*Put an intact copy"):
        next(batches)


# augmentations that a data set does not take


@pytest.mark.parametrize(
    ("track", "augment", "said"),
    [
        ("cifar10-vgg16", "resized-crop", r'"resized-crop".*\'cifar10\' are held in memory. Take "crop"'),
        ("imagenet-resnet50", "crop", r'"crop".*\'imagenet\' are streamed from files. Take "resized-crop"'),
    ],
)
def test_the_other_kinds_crop_is_refused(track: str, augment: str, said: str) -> None:
    given = load_track(track)
    assert check_augmentation(given).name == dataset(given.dataset).name
    finetune = given.finetune.model_copy(update={"augment": (augment,)})
    with pytest.raises(UsageError, match=said):
        check_augmentation(given.model_copy(update={"finetune": finetune}))


def test_labels_that_are_not_as_declared_are_refused(folder: Path) -> None:
    train, test = Tiles().load(folder)
    wrong = replace(test, labels=test.labels + 1)
    with pytest.raises(DataError, match="labels from 0 to 3"):
        split_files(Tiles(), train, wrong, Validation(images=8), torch.device("cpu"))


def test_files_of_a_data_set_that_does_not_say_so_are_refused(folder: Path) -> None:
    class Untold(Tiles):
        name = "untold"
        streamed = False

    track = load_track("cifar10-vgg16").model_copy(update={"dataset": "untold"})
    with (
        registered("bench.datasets", "bench.datasets", Dataset, Untold),
        pytest.raises(DataError, match=r"streamed = False and gives ImageFiles"),
    ):
        load_data(track, folder, "cpu")
