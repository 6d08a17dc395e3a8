"""`bench verify`: a true record is equal, an edited one is told where it differs, and what applied is said."""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bench import Method
from bench.cli.main import main
from bench.plugins import discover
from bench.records.record import Record
from bench.records.store import Store
from bench.runner.jobs import Job
from bench.runner.run import Workplace, execute
from bench.surgery import read_network

MAKER = '''
import torch
from pydantic import Field
from bench import Config, Method, Trial


class MakerConfig(Config):
    """One setting."""

    first: bool = Field(True, description="the first channels stay, else the last ones")


class Maker(Method):
    """Keeps the first channels."""

    name = "maker"
    reference = "a toy"
    Config = MakerConfig

    def prune(self, trial: Trial) -> None:
        sign = -1.0 if trial.config.first else 1.0
        trial.surgery.remove(trial.surgery.fit({g.name: sign * torch.arange(g.width) for g in trial.surgery.groups}))
'''


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> type[Method]:
    """A method in a module of its own, which a test can take away."""
    folder = tmp_path_factory.mktemp("maker")
    (folder / "maker_toy.py").write_text(MAKER)
    sys.path.insert(0, str(folder))
    try:
        import maker_toy
    finally:
        sys.path.remove(str(folder))
    found: type[Method] = maker_toy.Maker
    return found


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """One run for all tests here."""
    return {}


@pytest.fixture
def folder(
    maker: type[Method],
    made: dict[str, Any],
    run: Callable[..., Record],
    install: Callable[[type[Method]], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of a finished run of `maker`, in a store of its own."""
    install(maker)
    if not made:
        place = Workplace(Store(tmp_path_factory.mktemp("runs")), tmp_path_factory.mktemp("none"))
        record = run(maker, budget="3ep", at=place)
        assert record.status == "ok"
        made["folder"] = place.store.folder(record.run_id)
    path: Path = made["folder"]
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to be edited."""
    target = tmp_path / "runs" / folder.name
    target.mkdir(parents=True)
    for name in ("record.json", "network.safetensors"):
        (target / name).write_bytes((folder / name).read_bytes())
    return target


@pytest.fixture
def verify(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    made: dict[str, Any],
) -> Callable[..., tuple[int, str, str]]:
    """`verify(folder, "--measure-only")`: exit code, output and errors of `bench verify` on that folder's record.

    A spec is carried out once for all tests here but the first, which shows that this makes no difference.
    """
    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)

    def remembered(job: Job, *others: Any) -> Record:
        if job.spec.run_id not in made:
            made[job.spec.run_id] = execute(job, *others)
        record: Record = made[job.spec.run_id]
        return record

    if "true" not in request.node.name:
        monkeypatch.setattr("bench.checks.record.rerun.execute", remembered)

    def call(folder: Path, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["verify", str(folder / "record.json"), *words])
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return int(end.value.code or 0), said.out, said.err

    return call


Verify = Callable[..., tuple[int, str, str]]


def edit(folder: Path, *keys: str, to: Any) -> None:
    """Sets one field of a record."""
    path = folder / "record.json"
    record = json.loads(path.read_bytes())
    place = record
    for key in keys[:-1]:
        place = place[key]
    assert keys[-1] in place
    place[keys[-1]] = to
    path.write_text(json.dumps(record))


def turn(folder: Path) -> None:
    """Changes one weight of the stored network."""
    path = folder / "network.safetensors"
    description, tensors = read_network(path)
    tensors["conv1.weight"].view(-1)[0] += 1
    save_file(tensors, path, metadata={"bench": json.dumps(description)})


# -- run again ----------------------------------------------------------------------------------------------------


def test_a_true_record_is_equal_bitwise(folder: Path, verify: Verify) -> None:
    code, said, _ = verify(folder)
    assert (code, said) == (0, f"{folder.name}: equal (bitwise)\n")


@pytest.mark.parametrize(
    ("keys", "to", "said"),
    [
        (("seed",), 1, "run_id: the record says maker-smoke-macs0.5-s0-"),
        (("config", "first"), False, "run_id: the record says maker-smoke-macs0.5-s0-"),
        (("target",), "macs=0.25", "run_id: the record says maker-smoke-macs0.5-s0-"),
        (("track_fields", "finetune", "learning_rate"), 0.01, "run_id: the record says maker-smoke-macs0.5-s0-"),
        (("pruned", "weights_sha256"), "00", "different (bitwise): pruned network: 00 in the record, "),
        (("dense", "weights_sha256"), "00", "different (bitwise): dense network: 00 in the record, "),
        (("pruned", "top1_test"), 1.0, "different (bitwise): pruned top1_test: 1.0 in the record, "),
        (("pruned", "macs"), 1, "different (bitwise): pruned macs: 1 in the record, "),
        (("ledger", "finetune", "macs"), 1, "different (bitwise): ledger, finetune: "),
        (("curve", ), [], "different (bitwise): points of the curve: 0 in the record, "),
        (("manifest", "data_fingerprint"), "00", "not what it was. Changed since the record: images."),
        (("status",), "missed-target", "different (bitwise): status: missed-target in the record, ok now"),
    ],
)  # fmt: skip
def test_an_edited_record_is_told_where_the_first_difference_lies(
    copy: Path, verify: Verify, keys: tuple[str, ...], to: Any, said: str
) -> None:
    edit(copy, *keys, to=to)
    code, out, _ = verify(copy)
    assert code == 1
    assert said in out


def test_after_the_name_the_first_number_that_differs_is_told_too(copy: Path, verify: Verify) -> None:
    edit(copy, "seed", to=1)
    assert "; then curve, point 0 (dense, epoch 1): {" in verify(copy)[1]
    edit(copy, "seed", to=0)
    edit(copy, "config", "first", to=False)
    _, out, _ = verify(copy)
    assert "; then curve, point " in out
    assert "(finetune, epoch " in out


def test_on_another_kind_of_machine_the_tolerance_and_its_reason_are_told(copy: Path, verify: Verify) -> None:
    edit(copy, "manifest", "hardware", "processor", to="Abacus 9")
    edit(copy, "pruned", "weights_sha256", to="00")  # bits differ there
    code, out, _ = verify(copy)
    assert code == 0
    assert "equal (within tolerance, since processor was 'Abacus 9' and is " in out

    edit(copy, "pruned", "top1_test", to=0.1)
    code, out, _ = verify(copy)
    assert code == 1
    assert "different (within tolerance, since processor was 'Abacus 9'" in out
    assert "pruned top1_test: 0.1000 in the record, " in out
    assert "is allowed (3 standard errors)" in out

    edit(copy, "pruned", "macs", to=0)
    assert "pruned MACs: 0 in the record, " in verify(copy)[1]


@pytest.mark.parametrize(
    ("keys", "to", "reason"),
    [
        (("manifest", "device"), "cuda", "it ran on a GPU"),
        (("manifest", "libraries", "torch"), "2.0.0", "torch was 2.0.0 and is"),
        (("manifest", "method_sha256"), "00", "the method's source has changed since"),
        (("manifest", "hardware"), "a text", "processor was 'None' and is"),
        (("manifest", "libraries"), 7, "torch was None and is"),
    ],
)
def test_whatever_changed_is_the_reason(
    copy: Path, verify: Verify, keys: tuple[str, ...], to: Any, reason: str
) -> None:
    edit(copy, *keys, to=to)
    code, out, _ = verify(copy)
    assert code == 0
    assert f"equal (within tolerance, since {reason}" in out


@pytest.mark.slow
def test_a_budget_of_time_is_compared_within_tolerance(
    maker: type[Method], run: Callable[..., Record], tmp_path: Path, verify: Verify
) -> None:
    place = Workplace(Store(tmp_path / "runs"), tmp_path / "none")
    record = run(maker, budget="2s", at=place)
    code, out, _ = verify(place.store.folder(record.run_id))
    assert code == 0
    assert "equal (within tolerance, since its budget is one of time)" in out


# -- measure again ------------------------------------------------------------------------------------------------


def test_the_stored_network_is_measured_without_the_plugin_that_made_it(
    folder: Path, verify: Verify, maker: type[Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "maker_toy")
    monkeypatch.delitem(discover("bench.methods", "bench.methods", Method).classes, "maker")
    code, said, _ = verify(folder, "--measure-only")
    assert (code, said) == (0, f"{folder.name}: equal (bitwise)\n")
    assert "maker_toy" not in sys.modules
    code, out, err = verify(folder)
    assert (code, out) == (2, "")
    assert "unknown method 'maker'" in err


def test_changed_weights_are_found_by_their_hash(copy: Path, verify: Verify) -> None:
    turn(copy)
    code, out, _ = verify(copy, "--measure-only")
    assert code == 1
    assert "different (bitwise): weights: the stored network is " in out


@pytest.mark.parametrize(
    ("key", "to"), [("weights_sha256", "00"), ("macs", 1), ("nonzero", 1), ("top1_test", 0.1), ("correct_test", "gA==")]
)
def test_a_changed_measure_is_named(copy: Path, verify: Verify, key: str, to: Any) -> None:
    edit(copy, "pruned", key, to=to)
    code, out, _ = verify(copy, "--measure-only")
    assert code == 1
    assert (
        "weights: the stored network is " if key == "weights_sha256" else f"pruned {key}: {to} in the record, "
    ) in out


def test_measured_on_another_kind_of_machine_sizes_are_exact_and_accuracy_is_within_tolerance(
    copy: Path, verify: Verify
) -> None:
    edit(copy, "manifest", "hardware", "cpu_capability", to="NEON")
    record = json.loads((copy / "record.json").read_bytes())
    edit(copy, "pruned", "top1_test", to=record["pruned"]["top1_test"] - 0.001)
    code, out, _ = verify(copy, "--measure-only")
    assert (code, "equal (within tolerance, since cpu_capability was 'NEON' and is" in out) == (0, True)
    edit(copy, "pruned", "params", to=1)
    assert "pruned params: 1 in the record, " in verify(copy, "--measure-only")[1]


# -- refused ------------------------------------------------------------------------------------------------------


class _Trap:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_network_file_that_is_missing_damaged_or_a_pickle_is_refused(
    copy: Path, verify: Verify, tmp_path: Path
) -> None:
    network, sprung = copy / "network.safetensors", tmp_path / "sprung"
    content = network.read_bytes()
    torch.save({"trap": _Trap(sprung)}, tmp_path / "pickle.pt")
    for wrong in (
        None,
        b"",
        content[:-10],
        pickle.dumps(_Trap(sprung)),
        (tmp_path / "pickle.pt").read_bytes(),
    ):
        network.unlink(missing_ok=True)
        if wrong is not None:
            network.write_bytes(wrong)
        code, out, err = verify(copy, "--measure-only")
        assert (code, out) == (2, "")
        assert "network.safetensors is no network that bench saved" in err
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"network": "lenet5", "shape": [1, 28, 10**9], "classes": 10}, "and the record is of"),
        ({"network": "lenet5", "shape": [1, 28, 28], "classes": 10**9}, "and the record is of"),
        ({"network": "resnet20", "shape": [1, 28, 28], "classes": 10}, "and the record is of"),
        ({"network": "lenet5"}, "its description is not readable (KeyError: 'shape')"),
        ([1], "is no network that bench saved (TypeError"),
    ],
)
def test_a_network_file_that_describes_another_network_is_refused(
    copy: Path, verify: Verify, description: Any, said: str
) -> None:
    path = copy / "network.safetensors"
    _, tensors = read_network(path)
    save_file(tensors, path, metadata={"bench": json.dumps(description)})
    code, out, err = verify(copy, "--measure-only")
    assert (code, out) == (2, "")
    assert said in err


def test_tensors_of_another_network_are_refused(copy: Path, verify: Verify) -> None:
    path = copy / "network.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({"conv1.weight": torch.zeros(1)}, path, metadata=metadata)
    code, _, err = verify(copy, "--measure-only")
    assert code == 2
    assert "the saved tensors do not belong to this network" in err


def test_a_record_without_a_network_has_nothing_to_verify(copy: Path, verify: Verify) -> None:
    edit(copy, "status", to="failed")
    edit(copy, "pruned", to=None)
    for words, what in (((), "compare"), (("--measure-only",), "measure")):
        code, out, err = verify(copy, *words)
        assert (code, out) == (2, "")
        assert f"is failed and holds no network to {what}" in err


@pytest.mark.parametrize(
    ("keys", "to", "said"),
    [
        (("config", "first"), "perhaps", "settings of maker: first: "),
        (("config",), {"second": 1}, "settings of maker: second: "),
        (("track_fields", "threads"), "many", "its track: threads: "),
        (("track_fields",), {}, "its track: "),
        (("track_fields", "dataset"), "digit", "unknown dataset 'digit'. Did you mean 'digits'"),
        (("target",), "flops=0.5", "'flops' is not measured"),
        (("method",), "makers", "unknown method 'makers'. Did you mean 'maker'"),
        (("seed",), -1, "seed"),
        (("schema",), 7, "schema 7"),
    ],
)
def test_a_record_that_cannot_be_run_is_refused_in_words(
    copy: Path, verify: Verify, keys: tuple[str, ...], to: Any, said: str
) -> None:
    edit(copy, *keys, to=to)
    code, out, err = verify(copy)
    assert (code, out) == (2, "")
    assert said in err


def test_a_run_is_named_by_the_beginning_of_its_name_or_by_its_folder(
    copy: Path, capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    store = copy.parent
    for name in ("maker-smoke", copy.name.rpartition("-")[2], str(copy)):
        with pytest.raises(SystemExit) as end:
            main(["verify", name, "--measure-only", "--store", str(store)])
        assert end.value.code == 0
        assert capfd.readouterr().out == f"{copy.name}: equal (bitwise)\n"
    (store / "maker-smoke-2").mkdir()
    (store / "maker-smoke-2" / "record.json").write_text("{}")
    for name, said in (
        ("maker-smoke", "'maker-smoke' names 2 runs: "),
        ("maker-smoke-2", "record "),
        ("taker", "unknown run 'taker'"),
        ("**", "unknown run '**'"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["verify", name, "--store", str(store)])
        assert end.value.code == 2
        assert said in capfd.readouterr().err
