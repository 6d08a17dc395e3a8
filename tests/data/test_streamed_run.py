"""Whole runs over a folder of images: with other numbers of threads and after a kill, the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.base import Dataset
from bench.datasets._folders import ImageFolders
from bench.datasets.imagenet import ImageNet
from bench.errors import DataError
from bench.journal.interrupt import Stopped
from bench.plugins import discover
from bench.records.record import Record
from bench.records.store import Store
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace
from bench.runner.suite import check, run_suite
from bench.runner.workers import Inline
from bench.training.trainer import Trainer

pytestmark = pytest.mark.xdist_group("streamed run")  # one worker: the whole run is made once

TRACK = """
summary = "A few generated images in folders, on ResNet-8."
dataset = "tiny-folders"
network = "resnet8"
ranked = false
floor = 0.0
tolerance = 0.05
threads = 1
targets = ["macs=0.5"]

[validation]
images = 12

[dense]
epochs = 2
learning_rate = 0.05
batch_size = 8
augment = ["resized-crop", "flip"]

[finetune]
learning_rate = 0.05
batch_size = 8
augment = ["resized-crop", "flip"]

[budget]
dense_epochs = 4
"""

Go = Callable[..., Record]


class TinyFolders(ImageNet):
    """Three classes at 16x16 in ImageNet's layout: 20 training and 5 test images of each."""

    name = "tiny-folders"
    size, classes, counts = 16, 3, (60, 15)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy images of a brightness by class."""
    root, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 5)):
        for label in range(3):
            path = root / f"imagenet/{part}/n{label}"
            path.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 90, (24, 20, 3)) + 80 * label
                Image.fromarray(pixels.astype(np.uint8)).save(path / f"{number}.JPEG")
    return root


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def go(folder: Path, stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """`go("name", threads=2)`: the record of `l1` in the store of that name, through a suite of one run.

    What a store holds already is not run again.
    """
    monkeypatch.setitem(discover("bench.datasets", "bench.datasets", Dataset).classes, "tiny-folders", TinyFolders)
    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
    track = tmp_path / "tiny.toml"
    track.write_text(TRACK)

    def run(store: str, threads: int = 2, data: Path = folder) -> Record:
        monkeypatch.setattr("bench.data.streaming.decoders", lambda: threads)
        place = Workplace(Store(stores / store), data)
        jobs = make_plan(RunRequest(("l1",), (str(track),)), place.inputs)[:1]
        check(jobs, place)
        (outcome,) = run_suite(jobs, place, Inline(), lambda *_: None)
        assert outcome.record is not None
        return outcome.record

    return run


def result(record: Record) -> tuple[Any, ...]:
    """All that must be equal, bit by bit."""
    assert record.status == "ok", record.error
    assert record.dense is not None and record.pruned is not None
    spent = {name: phase.model_dump(exclude={"device_seconds"}) for name, phase in record.ledger.items()}
    parts = (record.dense, record.pruned)
    accuracies = [(part.top1_val, part.top1_test, part.correct_test, part.weights_sha256) for part in parts]
    return accuracies, spent, record.curve, record.manifest["data_fingerprint"]


def test_a_run_over_a_folder_does_not_depend_on_the_number_of_threads(go: Go) -> None:
    record = go("two threads")
    assert result(go("one thread", threads=1)) == result(record)
    assert record.ledger["total"].images_trained > 4 * 48
    assert record.dense is not None and record.dense.top1_val > 0.5  # of three classes: it is the images that it saw


@pytest.mark.parametrize("step", [9, pytest.param(19, marks=pytest.mark.slow)])
def test_a_run_killed_within_an_epoch_goes_on_to_the_same_bits(
    go: Go, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Steps 1 to 12 are the dense network's, six an epoch; the others fine-tune."""
    expected = result(go("two threads"))
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", "0")
    real, seen = Trainer._step, 0

    def dying(*arguments: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == step:
            raise Stopped
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", dying)
        with pytest.raises(Stopped):
            go(f"killed at {step}")
    taken = 0

    def counted(*arguments: Any) -> Any:
        nonlocal taken
        taken += 1
        return real(*arguments)

    monkeypatch.setattr(Trainer, "_step", counted)
    again = go(f"killed at {step}", threads=1)
    assert result(again) == expected
    assert taken == again.ledger["total"].steps - (step - 1)


def test_a_damaged_image_ends_the_run_with_its_name_and_leaves_no_record(
    go: Go, folder: Path, stores: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    for path in sorted(folder.glob("imagenet/*/*/*")):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    damaged = copy / "imagenet/train/n1/7.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(DataError, match=r"1 of 60 files cannot be read as images: \S*train/n1/7.JPEG .*intact copies"):
        go("damaged", data=copy)
    assert not list((stores / "damaged").glob("*/record.json"))


def test_a_missing_folder_is_refused_before_there_is_a_store(go: Go, stores: Path, tmp_path: Path) -> None:
    assert issubclass(TinyFolders, ImageFolders)
    with pytest.raises(DataError, match="data set 'tiny-folders' cannot be used"):
        go("nothing", data=tmp_path / "no-data")
    assert not (stores / "nothing").exists()
