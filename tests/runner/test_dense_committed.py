"""One dense network a track and seed on any machine: committed ones are used everywhere, edited ones are refused."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from bench import ChannelGroup, Method, Observer, Trial
from bench.errors import StoreError
from bench.networks.registry import network
from bench.records.record import Record
from bench.records.store import Store
from bench.runner import dense as dense_module
from bench.runner.dense import Dense, dense_key, dense_network
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.machines import machine_here
from bench.runner.run import Workplace
from bench.specs.run import RunSpec


class Norm(Observer):
    """The norm of each group's weights."""

    name = "norm"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        return {group.name: group.weight.detach().norm() for group in groups}


class Halved(Method):
    """Keeps the first channels."""

    name = "halved"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove(trial.surgery.fit())


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this is another machine."""
    other = {**machine_here("cpu"), "processor": "Abacus 9", "model": "Abacus/9/1/1", "cpu_capability": "DEFAULT"}
    monkeypatch.setattr("bench.runner.machines.machine_here", lambda _device: other)
    monkeypatch.setattr("bench.runner.dense.machine_here", lambda _device: other)


@pytest.fixture(scope="module")
def spec(smoke_track: Path) -> RunSpec:
    return make_plan(RunRequest(("halved",), (str(smoke_track),), ("macs=0.5",), budget="2ep"))[0].spec


@pytest.fixture(scope="module", autouse=True)
def known() -> Any:
    from bench.plugins import registered

    with registered("bench.methods", "bench.methods", Method, Halved):
        yield


@pytest.fixture(scope="module")
def committed(spec: RunSpec, workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of committed dense networks: a copy of a store's, as the README says."""
    store = Store(tmp_path_factory.mktemp("maker"))
    data = workplace.data(spec)
    dense_network(spec, network("lenet5"), data, store, (Norm,), lambda _phase, _share: None)
    target = tmp_path_factory.mktemp("committed")
    shutil.copytree(store.dense_folder(dense_key(spec)), target / dense_key(spec))
    return target


def get(workplace: Workplace, spec: RunSpec, store: Store, committed: Path, *observers: type[Observer]) -> Dense:
    data = workplace.data(spec)
    return dense_network(spec, network("lenet5"), data, store, observers, lambda _phase, _share: None, committed)


def test_the_key_does_not_depend_on_the_processor_nor_on_torch(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dense_key(spec)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setattr("torch.__version__", "9.9.9")
    assert dense_key(spec) == before


def test_a_committed_one_is_used_elsewhere_and_nothing_is_trained(
    spec: RunSpec, workplace: Workplace, committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_on = machine_here("cpu")
    elsewhere(monkeypatch)
    monkeypatch.setattr(dense_module, "train_dense", None)
    store = Store(tmp_path / "runs")
    found = get(workplace, spec, store, committed, Norm)
    assert (found.origin, found.machines, found.history_of_another) == ("committed", (made_on,), False)
    assert len(found.history.observed(Norm)) >= 5
    assert not store.dense_folder(found.key).exists()


def test_a_committed_one_comes_before_the_stores_own(
    spec: RunSpec, workplace: Workplace, committed: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "runs")
    shutil.copytree(committed / dense_key(spec), store.dense_folder(dense_key(spec)))
    assert get(workplace, spec, store, committed).origin == "committed"
    assert get(workplace, spec, store, tmp_path / "none").origin == "store"


class Sum(Norm):
    """Another observer."""

    name = "sum"


def test_an_observer_that_did_not_watch_sees_a_training_here_and_the_weights_stay(
    spec: RunSpec, workplace: Workplace, committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch)
    train = dense_module.train_dense

    def other_bits(*arguments: Any) -> Any:
        trained = train(*arguments)
        tensors = {
            name: tensor + (1e-6 if tensor.is_floating_point() else 0) for name, tensor in trained.tensors.items()
        }
        return type(trained)(tensors, trained.spent, trained.curve, trained.history)

    monkeypatch.setattr(dense_module, "train_dense", other_bits)
    store = Store(tmp_path / "runs")
    found = get(workplace, spec, store, committed, Norm, Sum)
    assert (found.origin, found.history_of_another) == ("committed", True)
    assert len(found.history.observed(Sum)) == len(found.history.observed(Norm)) >= 5
    assert found.weights_sha256 == json.loads((committed / found.key / "dense.json").read_text())["weights_sha256"]
    assert found.provenance()["dense_history_of_another_training"] is True
    again = get(workplace, spec, store, committed, Sum)  # kept: nothing is trained twice
    assert len(again.history.observed(Sum)) >= 5
    assert sorted(path.name for path in (committed / found.key).iterdir()) == [
        *("dense.json", "norm.safetensors", "weights.safetensors"),
    ]


@pytest.mark.parametrize(
    "edit",
    [
        lambda meta: meta["curve"][-1]["values"].update(top1_val=0.999),
        lambda meta: meta["spent"].update(macs=1),
        lambda meta: meta["spent"].update(device_seconds=0.5),
        lambda meta: meta.update(machines=[]),
        lambda meta: meta.update(surprise=1),
        lambda meta: meta.pop("sha256"),
        lambda meta: meta["inputs"].update(seed=7),
    ],
)
def test_a_dense_json_that_was_edited_is_refused(
    spec: RunSpec,
    workplace: Workplace,
    committed: Path,
    tmp_path: Path,
    edit: Callable[[dict[str, Any]], object],
) -> None:
    copy = tmp_path / "copy" / dense_key(spec)
    shutil.copytree(committed / dense_key(spec), copy)
    meta = json.loads((copy / "dense.json").read_text())
    edit(meta)
    (copy / "dense.json").write_text(json.dumps(meta))
    with pytest.raises(StoreError, match=r"is damaged: dense.json: .* Restore that folder, or delete it"):
        get(workplace, spec, Store(tmp_path / "runs"), tmp_path / "copy")


def test_an_edited_measure_gets_into_no_record(
    run: Callable[..., Record], workplace: Workplace, tmp_path: Path
) -> None:
    place = Workplace(Store(tmp_path / "runs"), workplace.data_folder, workplace.loaded)
    first = run(Halved, budget="2ep", at=place)
    assert first.dense is not None
    (path,) = place.store.root.glob("dense/*/measured-64.json")
    kept = json.loads(path.read_text())
    kept["measured"]["top1_test"] = 1.0
    path.write_text(json.dumps(kept))
    second = run(Halved, target="macs=0.25", budget="2ep", at=place)
    assert second.dense is not None
    assert second.dense.top1_test == first.dense.top1_test < 1.0
    assert json.loads(path.read_text())["measured"]["top1_test"] == first.dense.top1_test  # made again


def test_a_record_says_where_it_and_its_dense_network_were_made(
    run: Callable[..., Record], workplace: Workplace, tmp_path: Path
) -> None:
    place = Workplace(Store(tmp_path / "runs"), workplace.data_folder, workplace.loaded)
    record = run(Halved, budget="2ep", at=place)
    manifest, here = record.manifest, machine_here("cpu")
    assert (manifest["machines"], manifest["dense_machines"]) == ([here], [here])
    assert (manifest["dense_origin"], manifest["dense_history_of_another_training"]) == ("store", False)
    assert set(record.wall_seconds) == {"dense", "method", "finetune", "measure", "total"}
    assert record.wall_seconds["total"] >= record.wall_seconds["method"] > 0
    assert record.dense is not None and record.pruned is not None
    assert record.pruned.log_loss_test is not None and record.dense.log_loss_test is not None


def test_a_journal_goes_on_on_another_machine_and_the_record_names_both(
    run: Callable[..., Record], workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Workplace(Store(tmp_path / "runs"), workplace.data_folder, workplace.loaded)
    here = machine_here("cpu")
    measure = "bench.runner.run.latencies"
    with monkeypatch.context() as patch:
        patch.setattr(measure, lambda *_: (_ for _ in ()).throw(StoreError("the disk is full")))
        with pytest.raises(StoreError, match="the disk is full"):
            run(Halved, budget="2ep", at=place)
    elsewhere(monkeypatch)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    record = run(Halved, budget="2ep", at=place)
    assert record.status == "ok"
    assert [each["processor"] for each in record.manifest["machines"]] == [here["processor"], "Abacus 9"]
