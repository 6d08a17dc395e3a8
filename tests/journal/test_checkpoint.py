"""The checkpoint of a training call: when it is kept, whose it is, and what is said of a file that is none."""

import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import StoreError
from bench.journal.checkpoint import FileCheckpoint
from bench.journal.protocol import State


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.delenv("BENCH_CHECKPOINT_SECONDS", raising=False)
    monkeypatch.setattr("bench.journal.checkpoint.time", fake)
    return fake


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


@pytest.mark.parametrize("cost", [0.001, 0.2, 3.0, 40.0])
def test_checkpoints_cost_at_most_a_hundredth_of_the_time(
    clock: FakeClock, path: Path, monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    def write(_path: Path, _state: State) -> None:
        clock.now += cost

    monkeypatch.setattr("bench.journal.checkpoint.write_state", write)
    checkpoint, begun, saves = FileCheckpoint(path, "call"), clock.now, []
    while len(saves) < 10:
        clock.now += 0.05
        if checkpoint.due():
            saves.append(clock.now)
            checkpoint.save(State())
    assert saves[0] - begun == pytest.approx(5.0, abs=0.1)
    between = [later - earlier - cost for earlier, later in pairwise(saves)]
    assert all(pytest.approx(max(5.0, 100 * cost), abs=0.1) == each for each in between)


@pytest.mark.parametrize(("text", "wait"), [("0", 0.0), ("2.5", 2.5)])
def test_the_interval_can_be_given_and_zero_means_every_step(
    clock: FakeClock, path: Path, monkeypatch: pytest.MonkeyPatch, text: str, wait: float
) -> None:
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", text)
    checkpoint = FileCheckpoint(path, "call")
    assert checkpoint.due() == (wait == 0)
    clock.now += wait
    assert checkpoint.due()


@pytest.mark.parametrize("text", ["often", "-1", "nan", "inf", ""])
def test_an_interval_that_is_none_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", text)
    with pytest.raises(StoreError, match="BENCH_CHECKPOINT_SECONDS=.*: give a number of seconds, 0 for every step"):
        FileCheckpoint(path, "call")


def test_the_last_state_comes_back_to_its_own_call_and_to_no_other(path: Path) -> None:
    assert FileCheckpoint(path, "3 train epochs=1").load() is None
    for step in (1, 2):
        FileCheckpoint(path, "3 train epochs=1").save(State({"w": torch.full((2,), float(step))}, {"at": step}))
    state = FileCheckpoint(path, "3 train epochs=1").load()
    assert state is not None
    assert (state.tensors["w"].tolist(), state.values["at"]) == ([2.0, 2.0], 2)
    assert FileCheckpoint(path, "4 train epochs=1").load() is None
    FileCheckpoint(path, "4 train epochs=1").clear()
    assert not path.exists()


def test_clearing_takes_along_what_killed_processes_left_half_written(path: Path) -> None:
    (path.parent / ".checkpoint.safetensors.ab12.part").write_bytes(b"half")
    checkpoint = FileCheckpoint(path, "call")
    checkpoint.save(State())
    checkpoint.clear()
    assert list(path.parent.iterdir()) == []


class Touch:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "torch", "empty", "text", "huge header"])
def test_a_file_that_is_no_checkpoint_counts_as_none_and_nothing_in_it_is_executed(
    path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = path.parent / "made"
    match kind:
        case "pickle":
            path.write_bytes(pickle.dumps(Touch(made)))
        case "torch":
            torch.save({"state": Touch(made)}, path)
        case _:
            path.write_bytes({"empty": b"", "text": b"weights", "huge header": b"\xff" * 7 + b"\x00{}"}[kind])
    assert FileCheckpoint(path, "call").load() is None
    said = capsys.readouterr().err
    assert "checkpoint.safetensors is damaged (" in said and "That training begins again." in said
    assert not made.exists()
