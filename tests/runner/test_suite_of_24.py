"""A suite of 24 runs with two workers, of which one worker is killed and one plugin raises: nothing else is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from few_digits import by_id, few_digits

from bench.records.record import Record

pytestmark = pytest.mark.slow

TOYS = '''
import os
import signal
from pathlib import Path
from bench import Hook, Method, Trial
from bench.trial.phases import calls_of


class Steady(Method):
    """Trains and halves."""

    name = "steady"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        trial.train(epochs=0.5, hooks=self.hooks(trial))
        trial.surgery.remove(trial.surgery.fit())

    def hooks(self, trial: Trial) -> list[Hook]:
        return []


class Dies(Hook):
    """Kills its process at the fifth step, once."""

    def after_step(self, step) -> None:
        killed = Path(os.environ["SUITE_KILLED"])
        if step.index == 4 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Mortal(Steady):
    """One of its runs is killed, and one raises."""

    name = "mortal"

    def hooks(self, trial: Trial) -> list[Hook]:
        if (trial.target.ratio, calls_of(trial).seed) == (0.4, 1):
            raise ValueError("the plugin's own mistake")
        return [Dies()] if (trial.target.ratio, calls_of(trial).seed) == (0.5, 1) else []
'''
TRACK = few_digits("macs=0.5", "macs=0.4", "macs=0.3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toys as an installed distribution, and the track."""
    path = tmp_path_factory.mktemp("suite")
    about = path / "suite_toys-1.0.dist-info"
    about.mkdir()
    (path / "suite_toys.py").write_text(TOYS)
    (path / "tiny.toml").write_text(TRACK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: suite-toys\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\nsuite = suite_toys\n")
    return path


def test_24_runs_with_two_workers_of_which_one_is_killed_and_one_plugin_raises(
    bench: Callable[..., CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    environment = {"PYTHONPATH": str(folder), "SUITE_KILLED": str(tmp_path / "killed"), "BENCH_CHECKPOINT_SECONDS": "0"}
    words = ["run", "--track", str(folder / "tiny.toml"), "--wandb", "off"]
    seeds = [word for seed in range(4) for word in ("--seed", str(seed))]
    store = tmp_path / "runs"
    suite = [*words, *seeds, "--method", "steady,mortal", "--workers", "2", "--store", str(store)]

    done = bench(*suite, **environment)
    assert done.returncode == 1
    assert "plan: 24 runs: 24 to run" in done.stderr
    killed = (
        "mortal tiny macs=0.5 seed 1: tried again: its process ended before its record was written (signal 9, SIGKILL"
    )
    assert killed in done.stderr
    first = by_id(store)
    assert sorted(record.status for record in first.values()) == ["failed"] + 23 * ["ok"]
    (failed,) = (record for record in first.values() if record.status == "failed")
    assert failed.run_id.startswith("mortal-tiny-macs0.4-s1-")
    assert failed.error is not None
    assert failed.error.startswith("Traceback")
    assert "suite_toys.py" in failed.error
    assert failed.error.endswith("ValueError: the plugin's own mistake\n")
    assert not list(store.glob("*/journal"))

    done = bench(*suite, "--json", **environment)
    assert done.returncode == 1
    assert "plan: 24 runs: 23 done already, 1 failed before" in done.stderr
    assert len(json.loads(done.stdout)) == 24
    last = by_id(store)
    assert last == first

    calm = tmp_path / "calm"
    some = [*words, "--method", "steady,mortal", "--target", "macs=0.5", "--seed", "1", "--seed", "2"]
    assert bench(*some, "--store", str(calm), **environment).returncode == 0
    undisturbed = by_id(calm)
    assert len(undisturbed) == 4
    for name, record in undisturbed.items():
        assert agreed(last[name]) == agreed(record)


def agreed(record: Record) -> list[object]:
    """What two runs of a spec must agree on, bit by bit."""
    assert record.dense is not None
    assert record.pruned is not None
    return [
        record.dense.weights_sha256,
        record.pruned.weights_sha256,
        record.pruned.correct_test,
        record.curve,
        record.layers,
        {name: phase.model_dump(exclude={"device_seconds"}) for name, phase in record.ledger.items()},
    ]
