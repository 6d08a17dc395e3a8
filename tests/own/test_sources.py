"""Images of one's own: folders, arrays and functions come to the same splits, in memory and streamed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.own import OwnImages, parts_of
from bench.data.pixels import as_image
from bench.data.splits import load_data
from bench.errors import DataError, UsageError
from bench.specs.sources import ImagesSection
from bench.specs.track import Track

LINES = """
summary = "mine"
network = "lenet5"
floor = 0.1
targets = ["macs=0.5"]
[images]
source = "{source}"
size = [{height}, {width}]
channels = {channels}
classes = 3
mean = [{mean}]
std = [{mean}]
streamed = {streamed}
[validation]
images = {validation}
[dense]
epochs = 1
learning_rate = 0.1
[finetune]
learning_rate = 0.1
[budget]
dense_epochs = 2
"""


def track(
    root: Path, source: str, size: tuple[int, int], channels: int, validation: int, streamed: bool = False
) -> Track:
    import tomllib

    text = LINES.format(
        source=source,
        height=size[0],
        width=size[1],
        channels=channels,
        mean=", ".join(["0.5"] * channels),
        validation=validation,
        streamed=str(streamed).lower(),
    )
    return Track.model_validate({"name": "mine", **tomllib.loads(text), "root": root})


def test_images_of_ones_own_are_a_data_set_with_the_tracks_name(kit: Path) -> None:
    made = track(kit, "colour", (48, 80), 3, 12)
    assert made.dataset == "mine"
    data = load_data(made, Path("nowhere"), "cpu")
    assert (data.shape, data.classes) == ((3, 48, 80), 3)
    assert (len(data.train), len(data.validation), len(data.test)) == (48, 12, 30)


def test_a_folder_val_is_the_validation_split(kit: Path) -> None:
    data = load_data(track(kit, "grey", (28, 28), 1, 18), Path(), "cpu")
    assert (len(data.train), len(data.validation), len(data.test)) == (48, 18, 30)
    stored = np.asarray(Image.open(kit / "grey/val/bright/00.png"))
    _, labels = data.validation.at(torch.arange(18))
    pixels, _ = data.validation.at(torch.arange(18))
    assert sorted(labels.tolist()) == [0] * 6 + [1] * 6 + [2] * 6
    assert any(np.array_equal(image[0].numpy(), stored) for image in pixels)
    assert len(set(labels[:6].tolist())) > 1  # mixed
    with pytest.raises(UsageError, match=r"has 18 validation images of its own. Write validation.images = 18"):
        load_data(track(kit, "grey", (28, 28), 1, 10), Path(), "cpu")


def test_streamed_images_are_those_in_memory(kit: Path) -> None:
    inside, streamed = (load_data(track(kit, "colour", (48, 80), 3, 12, each), Path(), "cpu") for each in (False, True))
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(inside, part), getattr(streamed, part)
        for one, other in zip(ours.at(torch.arange(6)), theirs.at(torch.arange(6)), strict=True):
            assert torch.equal(one, other)


def test_a_folder_that_is_not_split_is_the_same_each_time(kit: Path, tmp_path: Path) -> None:
    one, two = parts_of("colour/train", kit), parts_of("colour/train", kit)
    assert one.train.names == two.train.names
    assert (len(one.train.names), len(one.test.names)) == (48, 12)
    assert torch.bincount(one.test.labels).tolist() == [4, 4, 4]
    assert not set(one.train.names) & set(one.test.names)


@pytest.mark.parametrize("names", ["images labels", "x y"])
def test_arrays_are_split_like_a_folder(names: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (30, 6, 8, 3), dtype=np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "a.npz", **dict(zip(names.split(), (images, labels), strict=True)))
    data = load_data(track(tmp_path, "a.npz", (6, 8), 3, 6), Path(), "cpu")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 6)
    pixels, label = data.test.at(torch.tensor([0]))
    place = next(i for i, image in enumerate(images) if np.array_equal(image.transpose(2, 0, 1), pixels[0].numpy()))
    assert int(label) == labels[place]


def test_labels_may_be_names(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 8, 3), dtype=np.uint8)
    names = np.array(["elk", "cat", "dog"])[np.arange(30) % 3]
    np.savez(tmp_path / "a.npz", x_train=images, y_train=names, x_test=images[:6], y_test=names[:6])
    parts = parts_of("a.npz", tmp_path)
    assert parts.classes == ("cat", "dog", "elk")
    assert parts.test.labels.tolist() == [2, 0, 1, 2, 0, 1]


FUNCTION = """
import torch

class Noise(torch.utils.data.Dataset):
    def __init__(self, count, floats):
        self.pixels = torch.randint(0, 256, (count, 1, 6, 8), generator=torch.Generator().manual_seed(count))
        self.floats = floats

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, place):
        image = self.pixels[place].to(torch.uint8)
        return (image / 255 if self.floats else image), place % 3

def give():
    return {"train": Noise(30, True), "test": Noise(12, False)}

class Shaky(Noise):
    def __getitem__(self, place):
        return torch.rand(1, 6, 8), place % 3

def shaky():
    return Shaky(30, True)

def normalised():
    return [((torch.rand(1, 6, 8) - 0.5) / 0.25, place % 3) for place in range(30)]

def fails():
    raise OSError("the disk is away")
"""


def test_a_function_gives_torch_data_sets(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FUNCTION)
    for streamed in (False, True):
        data = load_data(track(tmp_path, "mine.py:give", (6, 8), 1, 6, streamed), Path(), "cpu")
        assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 12)
        drawn = torch.randint(0, 256, (12, 1, 6, 8), generator=torch.Generator().manual_seed(12))
        pixels, labels = data.test.at(torch.arange(12))
        assert torch.equal(pixels.long(), drawn)
        assert labels.tolist() == [place % 3 for place in range(12)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shaky", "another image each time. Take the random transforms out"),
        ("normalised", "the track's mean and std normalise them"),
        ("fails", "raises OSError: the disk is away"),
        ("nothing", "unknown name 'nothing'"),
    ],
)
def test_a_function_that_gives_something_else_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FUNCTION)
    with pytest.raises((UsageError, DataError), match=said):
        parts_of(f"mine.py:{name}", tmp_path)


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((40, 6, 8), np.uint8), labels=np.arange(40) % 4)
    with pytest.raises(DataError, match="labels go from 0 to 3, and the track says 3 classes"):
        load_data(track(tmp_path, "a.npz", (6, 8), 1, 6), Path(), "cpu")


def test_classes_that_changed_since_the_track_was_written_are_refused(kit: Path) -> None:
    section = ImagesSection(
        source="colour", size=(48, 80), channels=3, classes=("a", "b", "c"), mean=(0.5,) * 3, std=(0.5,) * 3
    )
    with pytest.raises(DataError, match="the classes are bright, dark, striped, and the track says a, b, c"):
        OwnImages("mine", section, kit).load(Path())


def test_an_image_in_any_form_is_the_same_image() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    forms = [pixels, torch.from_numpy(pixels).permute(2, 0, 1), pixels / 255, Image.fromarray(pixels)]
    assert all(np.array_equal(np.asarray(as_image(form, "it")), pixels) for form in forms)
    assert as_image(pixels[:, :, :1], "it").mode == "L"
