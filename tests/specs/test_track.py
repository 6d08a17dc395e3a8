"""Tracks: the built-in files, and what is said of a file that is no track."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bench import UsageError
from bench.data.splits import check_augmentation
from bench.networks.base import NetworkSpec
from bench.networks.registry import network
from bench.specs.track import load_track, track_names
from bench.surgery.trace import trace_groups

GROUPS = {  # of a residual network: one within a block (two in a bottleneck), one a stage; ResNet-50's stem has its own
    "alexnet": 5,
    "lenet300": 2,
    "lenet5": 2,
    "resnet50": 2 * 16 + 4 + 1,
    "resnet8": 3 + 3,
    "vit-tiny32": 6 + 6,  # heads and neurons of each block
    "resnet20": 9 + 3,
    "resnet56": 27 + 3,
    "resnet110": 54 + 3,
    "vgg16": 13,
}
LARGE = ("alexnet", "resnet50")  # seconds to trace; tests/surgery/test_remove.py does it on small images


@pytest.fixture
def edited(smoke_track: Path, tmp_path: Path) -> Callable[..., str]:
    """`edited("floor = 0.5", "floor = 2")`: the path of the smoke track with one line replaced."""

    def edit(line: str, by: str, name: str = "edited.toml") -> str:
        text = smoke_track.read_text()
        assert line in text
        path = tmp_path / name
        path.write_text(text.replace(line, by, 1))
        return str(path)

    return edit


@pytest.mark.parametrize("name", track_names())
def test_every_built_in_track_can_be_read_and_names_what_there_is(name: str) -> None:
    track = load_track(name)
    assert track.name == name
    assert track.parsed_targets
    assert check_augmentation(track).name == track.dataset
    assert network(track.network).name == track.network


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if load_track(n).network in LARGE else ()) for n in track_names()],
)
def test_the_network_of_every_built_in_track_has_its_channel_groups_on_the_tracks_images(name: str) -> None:
    track = load_track(name)
    source = check_augmentation(track)
    groups = _groups(track.network, NetworkSpec(source.channels, source.size, source.classes), track.prunable)
    assert groups == GROUPS[track.network]


@cache
def _groups(name: str, spec: NetworkSpec, prunable: tuple[str, ...] | None) -> int:
    """How many channel groups the network offers; traced once for the tracks that share it."""
    plugin = network(name)
    return len(trace_groups(plugin.build(spec), spec.shape, prunable or plugin.prunable))


def test_a_file_is_read_like_a_built_in_track_and_named_after_its_stem(smoke_track: Path) -> None:
    track = load_track(str(smoke_track))
    assert (track.name, track.dense.epochs, track.budget.dense_epochs) == ("smoke", 2, 4)
    assert track.seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("line", "by", "said"),
    [
        ("floor = 0.5", "flor = 0.5", "floor: Field required; flor: Extra inputs are not permitted"),
        ("floor = 0.5", 'floor = "high"', r"floor: .*number.*\(given: 'high'\)"),
        ("floor = 0.5", "floor = 1.5", r"floor: .*less than 1 \(given: 1.5\)"),
        ("floor = 0.5", "floor = nan", r"floor: .*\(given: nan\)"),
        ("batch_size = 32", "batch_size = 1", r"dense.batch_size: .*\(given: 1\)"),
        ("learning_rate = 0.03", "learning_rate = 0", r"dense.learning_rate: .*greater than 0 \(given: 0\)"),
        ("epochs = 2", "", "dense.epochs is missing"),
        ("epochs = 2", "epochs = 4", r"budget.dense_epochs = 4 leaves nothing for pruning after dense.epochs = 4"),
        ("[finetune]", "[finetune]\nepochs = 2", "finetune.epochs is not taken"),
        ('targets = ["macs=0.5", "macs=0.25"]', 'targets = ["macs=2"]', r"targets: .*macs=2.0 is outside \(0, 1\)"),
        ("images = 800", "images = 0", r"validation.images: .*\(given: 0\)"),
        ("summary = ", "summary = [", "not a TOML file"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(edited: Callable[..., str], line: str, by: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load_track(edited(line, by))
    assert "edited.toml" in str(caught.value)


def test_bytes_that_are_no_text_are_no_track(tmp_path: Path) -> None:
    (tmp_path / "noise.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"noise.toml: not a TOML file"):
        load_track(str(tmp_path / "noise.toml"))


def test_a_name_that_no_record_could_carry_is_refused_before_any_run(edited: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match=r"name: .*\(given: 'my track'\)"):
        load_track(edited("floor", "floor", name="my track.toml"))


def test_a_missing_file_is_answered_with_the_built_in_tracks() -> None:
    with pytest.raises(UsageError, match=r"'nowhere.toml' does not exist.*digits-lenet5"):
        load_track("nowhere.toml")


def test_an_unknown_name_is_answered_with_the_near_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown track 'digit-lenet5'. Did you mean 'digits-lenet5'"):
        load_track("digit-lenet5")


def test_another_budget_in_dense_epochs_keeps_the_pruning_share(smoke_track: Path) -> None:
    track = load_track(str(smoke_track)).scaled(12, "dense_epochs")
    assert (track.budget.dense_epochs, track.dense.epochs) == (12, 6)


def test_another_budget_in_seconds_leaves_the_dense_recipe_alone(smoke_track: Path) -> None:
    track = load_track(str(smoke_track)).scaled(30, "device_seconds")
    assert (track.budget.device_seconds, track.dense.epochs) == (30, 2)
