"""`PROTOCOL` stands for the harness in every id: a run whose numbers change asks for it to be raised.

`protocol.json` holds what the present number stands for. Its `numbers` are the same on every processor to the digits
that are kept; its `bits` are those of single machines, and a machine that is not there is skipped, never red.

After a change that is meant to change results, raise `bench.specs.run.PROTOCOL` by one and write the file anew:

    python tests/runner/test_protocol.py

On a machine that is not there yet, the same command adds its bits and leaves the numbers. While no result of the
present number is committed, `--afresh` writes all of it without raising the number.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from bench import ChannelGroup, Config, Method, Observer, Trial
from bench.plugins import registered
from bench.records.hardware import machine
from bench.records.record import Record
from bench.records.store import Store
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace, execute
from bench.specs.changes import flat
from bench.specs.digest import digest
from bench.specs.run import PROTOCOL
from bench.specs.track import Track

FILE = Path(__file__).with_name("protocol.json")
TRACK = """
summary = "All that a recipe can say, for a few steps."
dataset = "digits"
network = "lenet5"
prunable = ["conv1", "conv2"]
floor = 0.0
tolerance = 0.1
threads = 1
targets = ["macs=0.5"]
validation.images = 200
[dense]
epochs = 0.3
learning_rate = 0.05
weight_decay = 1e-3
batch_size = 64
label_smoothing = 0.1
clip_norm = 1.0
augment = ["crop"]
[finetune]
learning_rate = 0.02
batch_size = 64
augment = ["crop"]
[budget]
dense_epochs = 1.2
"""


class Norms(Observer):
    """The l2 norm of each group's weights."""

    name = "norms"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        return {group.name: group.weight.detach().norm() for group in groups}


class WalkthroughConfig(Config):
    """One setting."""

    share: float = Field(0.3, gt=0, le=1, description="of what is left, trained between two removals")


class Walkthrough(Method):
    """Trains, evaluates, masks, removes: one of each call."""

    name = "walkthrough"
    reference = "this test"
    observers = (Norms,)
    Config = WalkthroughConfig

    def prune(self, trial: Trial) -> None:
        trial.train(share=trial.config.share)
        accuracy = trial.evaluate(images=100)
        trial.log(seen=accuracy.loss)
        scores = {group.name: torch.rand(group.width, generator=trial.rng) for group in trial.surgery.groups}
        trial.surgery.remove(trial.surgery.fit(scores))


def run() -> Record:
    """The run, in a store that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, registered("bench.methods", "bench.methods", Method, Walkthrough):
        path = Path(folder) / "protocol.toml"
        path.write_text(TRACK)
        place = Workplace(Store(Path(folder) / "runs"), Path(folder))
        (job,) = make_plan(RunRequest(("walkthrough",), (str(path),)), place.inputs)
        return execute(job, place)


def numbers(record: Record) -> dict[str, Any]:
    """What must be the same on every processor: whole numbers as they are, others to three digits."""
    assert record.dense and record.pruned
    return {
        "ledger": {
            phase: {name: value for name, value in spent.model_dump().items() if name != "device_seconds"}
            for phase, spent in record.ledger.items()
        },
        "widths": {layer.name: layer.width_after for layer in record.layers},
        "sizes": {name: getattr(record.pruned, name) for name in ("macs", "params", "bytes")},
        "losses": {
            f"{part} {name}": float(f"{getattr(getattr(record, part), name):.3g}")
            for part in ("dense", "pruned")
            for name in ("loss_val", "log_loss_test")
        },
        "curve": [
            {
                name: float(f"{value:.3g}")
                for name, value in point.values.items()
                if value is not None and name[:3] != "top"
            }
            for point in record.curve
        ],
    }


def bits(record: Record) -> dict[str, str]:
    """What must be the same on one kind of machine: the networks and the history, bit by bit."""
    assert record.dense and record.pruned
    return {"dense": record.dense.weights_sha256, "pruned": record.pruned.weights_sha256}


def machine_name() -> str:
    """This kind of machine, in a few words with a hash over the rest."""
    here = machine()
    return f"{here['model']} {here['cpu_capability']} torch {torch.__version__} {digest(here)[:8]}"


def defaults() -> dict[str, Any]:
    """The defaults of a track that ids leave out."""
    fields = {"summary": "", "dataset": "a", "network": "a", "floor": 0, "targets": [], "validation": {"images": 1}}
    recipe = {"learning_rate": 1.0}
    track = {**fields, "name": "a", "dense": {**recipe, "epochs": 1}, "finetune": recipe, "budget": {"dense_epochs": 2}}
    return flat(Track.model_validate(track).model_dump(mode="json"))


@pytest.fixture(scope="module")
def record() -> Record:
    made = run()
    assert made.status == "ok", made.error
    return made


RAISE = (
    "the harness comes to other numbers. If that is meant, raise PROTOCOL in bench/specs/run.py by one and run "
    "`python tests/runner/test_protocol.py`; if not, something that should not change results does."
)


def test_the_number_is_the_one_that_the_file_is_of() -> None:
    assert json.loads(FILE.read_bytes())["protocol"] == PROTOCOL, "run `python tests/runner/test_protocol.py`"


def test_the_numbers_are_those_that_the_protocol_stands_for(record: Record) -> None:
    wanted = json.loads(FILE.read_bytes())["numbers"]
    found = numbers(record)
    for name in ("ledger", "widths", "sizes"):
        assert found[name] == wanted[name], RAISE
    assert found["losses"] == pytest.approx(wanted["losses"], rel=0.01), RAISE
    assert len(found["curve"]) == len(wanted["curve"]), RAISE
    for point, must in zip(found["curve"], wanted["curve"], strict=True):
        assert point == pytest.approx(must, rel=0.01), RAISE


def test_the_bits_are_those_that_the_protocol_stands_for_on_this_kind_of_machine(record: Record) -> None:
    known = json.loads(FILE.read_bytes())["bits"]
    if machine_name() not in known:
        pytest.skip(f"no bits of {machine_name()!r} yet: `python tests/runner/test_protocol.py` adds them")
    assert bits(record) == known[machine_name()], RAISE


def test_no_default_of_a_track_was_changed_since_ids_leave_defaults_out() -> None:
    kept, now = json.loads(FILE.read_bytes())["defaults"], defaults()
    changed = {name: (value, now.get(name)) for name, value in kept.items() if now.get(name) != value}
    assert not changed, f"runs with another default would have the same id. {RAISE}"


def write(afresh: bool) -> None:
    """Writes the file: all of it where the protocol was raised, else this machine's bits."""
    made = run()
    before = json.loads(FILE.read_bytes()) if FILE.exists() and not afresh else {}
    if before.get("protocol") != PROTOCOL:
        before = {"protocol": PROTOCOL, "numbers": numbers(made), "bits": {}}
    before["defaults"] = defaults()
    before["bits"][machine_name()] = bits(made)
    FILE.write_text(json.dumps(before, indent=1, sort_keys=True) + "\n")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    write(afresh="--afresh" in sys.argv)
