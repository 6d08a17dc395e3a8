"""Files that somebody made to do harm: pickles where tensors belong, and track files of any content."""

import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from bench import Record
from bench.errors import BenchError, StoreError, UsageError
from bench.journal.codec import read_state
from bench.records.store import Store
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace, execute
from bench.specs.track import parse_track
from bench.surgery.architecture import load_tensors_into, read_network, save_network


class Touch:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def plant(path: Path, kind: str) -> Path:
    """Writes a file that makes another one if it is ever executed; returns the other one's path."""
    made = path.with_name("made")
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Touch(made)))
    else:
        torch.save({"weight": Touch(made)}, path)
    return made


KINDS = pytest.mark.parametrize("kind", ["pickle", "torch"])


@KINDS
@pytest.mark.parametrize("read", [read_state, read_network], ids=lambda read: read.__name__)
def test_a_pickle_in_place_of_tensors_is_refused_by_name_and_not_executed(
    tmp_path: Path, kind: str, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "file.safetensors"
    made = plant(path, kind)
    with pytest.raises(StoreError, match=r"file\.safetensors"):
        read(path)
    assert not made.exists()


@KINDS
@pytest.mark.parametrize("file", ["weights.safetensors", "dense.json"])
def test_a_pickle_in_the_dense_networks_folder_is_named_made_afresh_and_not_executed(
    run: Callable[..., Record],
    workplace: Workplace,
    smoke_track: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    file: str,
) -> None:
    before = run("l1")
    shutil.copytree(workplace.store.root / "dense", tmp_path / "dense")
    made = [plant(folder / file, kind) for folder in (tmp_path / "dense").iterdir()]
    (job,) = make_plan(RunRequest(("l1",), (str(smoke_track),), ("macs=0.5",)))
    record = execute(job, Workplace(Store(tmp_path), workplace.data_folder, workplace.loaded))
    said = capsys.readouterr().err
    assert file in said
    assert "It is trained again" in said
    assert record.pruned is not None and before.pruned is not None
    assert record.pruned.weights_sha256 == before.pruned.weights_sha256
    assert not any(path.exists() for path in made)


@settings(max_examples=50, deadline=None)
@given(place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=9), cut=st.booleans())
def test_a_network_file_with_damaged_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: float, noise: bytes, cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "network.safetensors"
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Linear(2, 2))
    save_network(network, path, {"network": "x", "shape": [1, 2, 2]})
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + noise + (b"" if cut else content[at + len(noise) :]))
    with suppress(BenchError):
        _, tensors = read_network(path)
        load_tensors_into(network, tensors)


# -- track files --------------------------------------------------------------------------------------------------


def read(content: bytes) -> None:
    with suppress(UsageError):
        parse_track(content, "edited.toml", "edited")


VALUES = st.sampled_from(
    ["-1", "0", "1e400", "nan", "-inf", '""', '"../../x"', "[]", "[[]]", "{}", "true", "9" * 30, "9" * 5000,
     "0x" + "f" * 5000, "1979-05-27", '"\\u0000"', "[" * 2000, "[" * 300 + "]" * 300, '"' + "x" * 100_000 + '"', ""],
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, 40), value=VALUES)
def test_a_track_with_anything_in_any_field_is_read_or_refused(smoke_track: Path, line: int, value: str) -> None:
    lines = smoke_track.read_text().splitlines()
    settable = [number for number, text in enumerate(lines) if " = " in text]
    number = settable[line % len(settable)]
    lines[number] = lines[number].partition("=")[0] + "= " + value
    read("\n".join(lines).encode())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), noise=st.binary(max_size=6) | st.text(max_size=6).map(str.encode))
def test_a_track_with_damaged_bytes_is_read_or_refused(smoke_track: Path, place: float, noise: bytes) -> None:
    content = smoke_track.read_bytes()
    at = int(place * len(content))
    read(content[:at] + noise + content[at + len(noise) :])
