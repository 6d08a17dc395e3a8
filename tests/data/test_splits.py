"""Splitting, fingerprinting and batching, on images small enough to follow by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.data.augmentation import Moves, draw_moves, moved, padding
from bench.data.base import Dataset, Images
from bench.data.splits import (
    Data,
    evaluation_batches,
    load_data,
    split_images,
    steps_per_epoch,
    training_batches,
)
from bench.data.stratify import stratified_draw
from bench.errors import DataError, UsageError
from bench.specs.track import Recipe, Validation, load_track

CPU = torch.device("cpu")


class Numbered(Dataset):
    """Image i has every pixel i, so a batch shows which images it holds."""

    name = "numbered"
    channels, size, classes = 3, 16, 3
    mean, std = (0.0, 0.5, 1.0), (1.0, 0.5, 0.25)

    def load(self, folder: Path) -> tuple[Images, Images]:
        def images(first: int, count: int) -> Images:
            numbers = torch.arange(first, first + count, dtype=torch.uint8)
            return Images(numbers.view(-1, 1, 1, 1).repeat(1, 3, 16, 16), numbers.long() % 3)

        return images(0, 93), images(200, 12)


def numbered(images: int = 30, seed: int = 0, change: Callable[[Images, Images], None] | None = None) -> Data:
    source = Numbered()
    train, test = source.load(Path())
    if change:
        change(train, test)
    return split_images(source, train, test, Validation(images=images, seed=seed), CPU)


def recipe(batch_size: int = 8, augment: tuple[str, ...] = ()) -> Recipe:
    return Recipe(learning_rate=0.1, batch_size=batch_size, augment=augment)  # type: ignore[arg-type]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(batches: list[tuple[Tensor, Tensor]]) -> list[int]:
    return [round(value * 255) for pixels, _ in batches for value in pixels[:, 0, 8, 8].tolist()]


# splitting


def test_validation_is_carved_from_train() -> None:
    data = numbered()
    train, validation = data.train.pixels[:, 0, 0, 0].tolist(), data.validation.pixels[:, 0, 0, 0].tolist()
    assert sorted(train + validation) == list(range(93))
    assert validation == data.validation_indices.tolist()
    assert data.validation.labels.bincount().tolist() == [10, 10, 10]
    assert all(pixel % 3 == label for pixel, label in zip(train, data.train.labels.tolist(), strict=True))


def test_test_is_as_stored_and_a_method_gets_none_of_it() -> None:
    data = numbered()
    assert data.test.pixels[:, 0, 0, 0].tolist() == list(range(200, 212))
    assert len(data.for_method().test) == 0
    assert list(data.for_method().test_batches()) == []
    assert data.for_method().validation is data.validation


def test_images_are_channels_last() -> None:
    data = numbered()
    for split in (data.train, data.validation, data.test):
        assert split.pixels.is_contiguous(memory_format=torch.channels_last)


def test_draw_is_fixed() -> None:
    # sha256 of "0:0" to "0:7" begins with ac, ef, 93, 76, 48, cc, a7, 2b
    assert stratified_draw([0, 1] * 4, 4, seed=0) == ([7, 4, 3, 2], [6, 0, 5, 1])


def test_draw_rounds_by_largest_remainder() -> None:
    labels = [0] * 5 + [1] * 3 + [2] * 2  # shares of 4 images: 2.0, 1.2, 0.8
    drawn, rest = stratified_draw(labels, 4, seed=1)
    assert sorted(labels[place] for place in drawn) == [0, 0, 1, 2]
    assert sorted(drawn + rest) == list(range(10))


def test_draw_depends_on_the_seed() -> None:
    assert stratified_draw([0] * 50, 10, seed=0) != stratified_draw([0] * 50, 10, seed=1)


@pytest.mark.parametrize("images", [0, 10, 11])
def test_draw_refuses_what_leaves_nothing(images: int) -> None:
    with pytest.raises(UsageError, match=f"{images} images cannot be drawn from 10"):
        stratified_draw([0] * 10, images, seed=0)


def test_fingerprint_is_of_content() -> None:
    def train_pixel(train: Images, test: Images) -> None:
        train.pixels[5, 2, 15, 15] += 1

    def test_pixel(train: Images, test: Images) -> None:
        test.pixels[0, 0, 0, 0] += 1

    def train_label(train: Images, test: Images) -> None:
        train.labels[7], train.labels[8] = train.labels[8].item(), train.labels[7].item()

    def test_label(train: Images, test: Images) -> None:
        test.labels[3] = (test.labels[3] + 1) % 3

    prints = [numbered(change=change).fingerprint for change in (train_pixel, test_pixel, train_label, test_label)]
    prints += [numbered().fingerprint, numbered(images=29).fingerprint, numbered(seed=1).fingerprint]
    assert len(set(prints)) == 7
    assert numbered().fingerprint == numbered().fingerprint


def test_images_that_are_not_as_declared_are_refused() -> None:
    def bad_label(train: Images, test: Images) -> None:
        train.labels[0] = 3

    with pytest.raises(DataError, match="labels from 0 to 2"):
        numbered(change=bad_label)
    source, (train, test) = Numbered(), Numbered().load(Path())
    small = Images(test.pixels[:, :, :8], test.labels)
    with pytest.raises(DataError, match=r"must give uint8 \(12, 3, 16, 16\)"):
        split_images(source, train, small, Validation(images=3), CPU)


def test_load_data_of_a_track() -> None:
    data = load_data(load_track("digits-lenet5"), Path("/nowhere"), "cpu")
    assert (len(data.train), len(data.validation), len(data.test)) == (1197, 200, 400)
    assert (data.name, data.shape, data.classes) == ("digits", (1, 28, 28), 10)
    first = torch.cat([labels for _, labels in data.validation_batches(images=100)])
    assert first.unique().tolist() == list(range(10))


def test_flipping_digits_is_refused() -> None:
    track = load_track("digits-lenet5")
    finetune = track.finetune.model_copy(update={"augment": ("crop", "flip")})
    with pytest.raises(UsageError, match="flips images of 'digits'"):
        load_data(track.model_copy(update={"finetune": finetune}), Path(), "cpu")


# batches


def test_normalised_by_hand() -> None:
    data = numbered()
    pixels, labels = next(data.test_batches(images=1))
    value = 200 / 255
    expected = torch.tensor([value, (value - 0.5) / 0.5, (value - 1) / 0.25])
    torch.testing.assert_close(pixels[0, :, 3, 4], expected)
    assert (pixels.dtype, labels.tolist()) == (torch.float32, [200 % 3])
    assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_has_every_image_once_in_a_new_order() -> None:
    data, drawing = numbered(), generator()
    first = numbers(list(training_batches(data, recipe(), drawing)))
    second = numbers(list(training_batches(data, recipe(), drawing)))
    stored = data.train.pixels[:, 0, 0, 0].tolist()
    assert sorted(first) == sorted(second) == sorted(stored)
    assert stored != first != second


def test_labels_stay_with_their_images() -> None:
    for pixels, labels in training_batches(numbered(), recipe(), generator()):
        assert [number % 3 for number in numbers([(pixels, labels)])] == labels.tolist()


@pytest.mark.parametrize("augment", [(), ("crop",), ("flip",), ("crop", "flip")])
def test_same_generator_state_same_batches_and_skipping_is_slicing(augment: tuple[str, ...]) -> None:
    data, given, again = numbered(), generator(3), generator(3)
    whole = list(training_batches(data, recipe(augment=augment), given))
    resumed = list(training_batches(data, recipe(augment=augment), again, start=3))
    assert len(resumed) == len(whole) - 3
    for (pixels, labels), (expected, truth) in zip(resumed, whole[3:], strict=True):
        assert torch.equal(pixels, expected)
        assert torch.equal(labels, truth)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(given.get_state(), again.get_state())


def test_the_generator_moves_on_at_the_call() -> None:
    data, whole, none = numbered(), generator(), generator()
    list(training_batches(data, recipe(), whole))
    training_batches(data, recipe(), none)
    assert torch.equal(whole.get_state(), none.get_state())


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    list(training_batches(numbered(), recipe(augment=("crop", "flip")), generator()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("batch_size", "sizes"), [(21, [21, 21, 21]), (40, [40, 23]), (31, [31, 31]), (64, [63])])
def test_last_batch_is_kept_unless_it_is_one_image(batch_size: int, sizes: list[int]) -> None:
    batches = list(training_batches(numbered(), recipe(batch_size), generator()))
    assert [len(labels) for _, labels in batches] == sizes
    assert steps_per_epoch(63, batch_size) == len(sizes)


def test_evaluation_batches_are_in_order() -> None:
    data = numbered()
    batches = list(data.validation_batches(images=17, batch_size=7))
    assert [len(labels) for _, labels in batches] == [7, 7, 3]
    assert numbers(batches) == data.validation_indices[:17].tolist()
    assert sum(len(labels) for _, labels in data.validation_batches(images=1000)) == 30
    assert numbers(list(data.plain_training_batches())) == data.train.pixels[:, 0, 0, 0].tolist()


def test_evaluating_on_no_image_is_refused() -> None:
    data = numbered()
    with pytest.raises(UsageError, match="images=0"):
        evaluation_batches(data.validation, data.normaliser, images=0)


# crop and flip


def test_padding() -> None:
    assert [padding(size) for size in (8, 28, 32, 64, 224)] == [0, 2, 4, 8, 28]


def grid(images: int = 1) -> Tensor:
    """Image of 16x16 whose pixel in row r, column c is 16 r + c, channels last."""
    return torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).repeat(images, 1, 1, 1)


def test_crop_by_hand() -> None:
    down, right = torch.tensor([2, 0, 4]), torch.tensor([2, 3, 1])  # padding is 2 at size 16
    same, up, low = moved(grid(3), Moves(down=down, right=right))[..., 0]
    assert torch.equal(same, grid()[0, ..., 0])
    assert not up[:2].any()  # two rows of padding come in at the top,
    assert not up[:, 15].any()  # and one column at the right
    assert torch.equal(up[2:, :15], grid()[0, :14, 1:, 0])
    assert not low[14:].any()
    assert not low[:, 0].any()
    assert torch.equal(low[:14, 1:], grid()[0, 2:, :15, 0])


def test_crop_and_flip_of_an_image_that_is_not_square() -> None:
    pixels = torch.arange(32 * 16, dtype=torch.float32).view(1, 32, 16, 1)  # padding is 4 above and 2 beside
    crop = moved(pixels, Moves(torch.tensor([0]), torch.tensor([3])))[0, ..., 0]
    assert not crop[:4].any() and not crop[:, 15].any()
    assert torch.equal(crop[4:, :15], pixels[0, :28, 1:, 0])
    flipped = moved(pixels, Moves(mirrored=torch.tensor([True])))[0, ..., 0]
    assert torch.equal(flipped, pixels[0, ..., 0].flip(1))
    moves = draw_moves(3000, (32, 16), ("crop",), generator(), CPU)
    assert moves.down is not None and moves.right is not None
    assert (int(moves.down.max()), int(moves.right.max())) == (8, 4)


def test_flip_by_hand() -> None:
    flipped, kept = moved(grid(2), Moves(mirrored=torch.tensor([True, False])))[..., 0]
    assert flipped[1].tolist() == list(range(31, 15, -1))
    assert torch.equal(kept, grid()[0, ..., 0])


def test_crop_and_flip_together_are_a_flipped_crop() -> None:
    pixels = torch.randint(0, 256, (40, 16, 16, 3), dtype=torch.uint8, generator=generator())
    moves = draw_moves(40, (16, 16), ("crop", "flip"), generator(), CPU)
    assert moves.mirrored is not None
    crops = moved(pixels, Moves(moves.down, moves.right))
    assert torch.equal(moved(pixels, moves), torch.where(moves.mirrored.view(-1, 1, 1, 1), crops.flip(2), crops))


def test_all_crops_are_drawn_and_half_are_flipped() -> None:
    moves = draw_moves(2000, (16, 16), ("crop", "flip"), generator(), CPU)
    assert moves.down is not None
    assert moves.right is not None
    assert moves.mirrored is not None
    assert len(set(zip(moves.down.tolist(), moves.right.tolist(), strict=True))) == 25
    assert 900 < int(moves.mirrored.sum()) < 1100
