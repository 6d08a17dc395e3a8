"""The dense network: trained once, shared, observed later, and trained again when damaged."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import ChannelGroup, Observer
from bench.errors import BenchError
from bench.networks.registry import network
from bench.records.store import Store
from bench.runner.dense import Dense, dense_key, dense_network
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace
from bench.specs.run import RunSpec


class Norm(Observer):
    """The norm of each group's weights."""

    name = "norm"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        """Scalars by group name."""
        return {group.name: group.weight.detach().norm() for group in groups}


class Meddling(Observer):
    """Changes what it watches."""

    name = "meddling"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        """Forbidden."""
        groups[0].weight.data.mul_(0.5)
        return {}


def spec(track: Path, seed: int = 0) -> RunSpec:
    (job,) = make_plan(RunRequest(("dense",), (str(track),), seeds=(seed,), budget="2ep"))
    return job.spec


def get(workplace: Workplace, spec: RunSpec, store: Store, *observers: type[Observer]) -> tuple[Dense, list[str]]:
    """The network, and what was reported while getting it."""
    told: list[str] = []
    plugin, data = network("lenet5"), workplace.data(spec)
    dense = dense_network(spec, plugin, data, store, observers, lambda phase, _share: told.append(phase))
    return dense, told


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_it_is_trained_once_and_read_after_that(workplace: Workplace, smoke_track: Path, store: Store) -> None:
    first, told = get(workplace, spec(smoke_track), store)
    assert told == ["dense"]
    second, told = get(workplace, spec(smoke_track), store)
    assert told == []
    assert second.weights_sha256 == first.weights_sha256
    assert second.spent == first.spent
    assert second.curve == first.curve
    assert second.network is not first.network
    assert not second.network.training
    assert first.spent.images_trained == 597
    assert first.curve[-1].values["top1_val"] is not None


def test_an_observer_that_comes_later_sees_the_same_training(
    workplace: Workplace, smoke_track: Path, store: Store, tmp_path: Path
) -> None:
    plain, _ = get(workplace, spec(smoke_track), store)
    later, told = get(workplace, spec(smoke_track), store, Norm)
    assert told == ["dense"]
    assert later.weights_sha256 == plain.weights_sha256
    assert later.spent == plain.spent
    at_once, _ = get(workplace, spec(smoke_track), Store(tmp_path / "another"), Norm)
    seen = [history.observed(Norm) for history in (later.history, at_once.history)]
    assert seen[0] == seen[1]
    last = next(p for name, p in later.network.named_parameters() if name == "conv1.weight").detach().norm()
    torch.testing.assert_close(seen[0][-1]["conv1"], last)


def test_an_observer_that_changes_the_network_is_found_out(
    workplace: Workplace, smoke_track: Path, store: Store
) -> None:
    get(workplace, spec(smoke_track), store)
    with pytest.raises(BenchError, match=r"came out different .* observers meddling. An observer must only read"):
        get(workplace, spec(smoke_track), store, Meddling)


def test_the_key_follows_what_the_network_depends_on_and_nothing_else(smoke_track: Path) -> None:
    one = spec(smoke_track)
    other_target = make_plan(RunRequest(("l1",), (str(smoke_track),), ("macs=0.25",), budget="2ep"))[0].spec
    assert dense_key(other_target) == dense_key(one)
    assert dense_key(spec(smoke_track, seed=1)) != dense_key(one)
    longer = make_plan(RunRequest(("dense",), (str(smoke_track),), budget="4ep"))[0].spec
    assert dense_key(longer) != dense_key(one)


@pytest.fixture(scope="module")
def trained(workplace: Workplace, smoke_track: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the network in it."""
    root = tmp_path_factory.mktemp("trained")
    get(workplace, spec(smoke_track), Store(root))
    return root


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def edit_json(path: Path) -> None:
    meta = json.loads((path.parent / "dense.json").read_text())
    del meta["spent"]
    (path.parent / "dense.json").write_text(json.dumps(meta))


def break_json(path: Path) -> None:
    (path.parent / "dense.json").write_text("{")


def zero(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("damage", [flip, cut, zero, Path.unlink, edit_json, break_json])
def test_a_damaged_network_is_trained_again_which_is_said(
    workplace: Workplace,
    smoke_track: Path,
    store: Store,
    trained: Path,
    damage: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, told = get(workplace, spec(smoke_track), Store(trained))
    assert told == []
    shutil.copytree(trained, store.root)
    (path,) = store.root.glob("dense/*/weights.safetensors")
    damage(path)  # type: ignore[operator]
    capsys.readouterr()
    again, told = get(workplace, spec(smoke_track), store)
    assert told == ["dense"]
    assert again.weights_sha256 == whole.weights_sha256
    assert capsys.readouterr().err.startswith(f"note: the dense network in {path.parent} is damaged: ")
    assert get(workplace, spec(smoke_track), store)[1] == []
    assert capsys.readouterr().err == ""


def test_a_damaged_history_is_observed_again(
    workplace: Workplace, smoke_track: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = get(workplace, spec(smoke_track), store, Norm)
    expected = [{name: float(seen) for name, seen in point.items()} for point in whole.history.observed(Norm)]
    (path,) = store.root.glob("dense/*/norm.safetensors")
    zero(path)
    assert get(workplace, spec(smoke_track), store)[1] == []  # nobody needs it
    again, told = get(workplace, spec(smoke_track), store, Norm)
    assert told == ["dense"]
    assert again.weights_sha256 == whole.weights_sha256
    assert [{name: float(seen) for name, seen in point.items()} for point in again.history.observed(Norm)] == expected
    assert "It is trained again, observed." in capsys.readouterr().err
