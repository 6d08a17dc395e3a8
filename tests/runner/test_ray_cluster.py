"""A Ray cluster of three nodes on this machine, and 24 runs on it: a node, a worker and the driver are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from few_digits import by_id, few_digits

from bench.records.record import Record

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.xdist_group("ray")]

TOY = """
from bench import Method, Trial


class Traveller(Method):
    name = "traveller"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        trial.train(epochs=1)
        trial.surgery.remove(trial.surgery.fit())
"""
TRACK = few_digits("macs=0.5", "macs=0.4", "macs=0.3", budget=3)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without processors, and three nodes with one each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.spare = [made.add_node(num_cpus=1) for _ in range(3)]
    try:
        yield made
    finally:
        made.shutdown()


def wait_for(what: Callable[[], Any], seconds: float, driver: "subprocess.Popen[bytes]") -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it does not come"
        assert driver.poll() is None, "the command ended before"
        time.sleep(0.1)
    return found


def workers() -> list[int]:
    """The cluster's processes that carry out runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Runner"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_24_runs_of_which_a_node_a_worker_and_the_driver_are_killed(cluster: Any, tmp_path: Path) -> None:
    plugins, track = tmp_path / "plugins", tmp_path / "tiny.toml"
    about = plugins / "traveller-1.0.dist-info"
    about.mkdir(parents=True)
    (plugins / "traveller_toy.py").write_text(TOY)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: traveller\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\ntraveller = traveller_toy\n")
    track.write_text(TRACK)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "BENCH_"))}
    environ |= {"PYTHONPATH": str(plugins), "BENCH_CHECKPOINT_SECONDS": "0", "HOME": str(tmp_path)}
    words = [sys.executable, "-m", "bench.cli", "run", "--track", str(track), "--wandb", "off", "--timeout", "none"]
    words += ["--method", "traveller,l1", *(word for seed in range(4) for word in ("--seed", str(seed)))]
    store = tmp_path / "ray"
    by_ray = [*words, "--executor", "ray", "--address", cluster.address, "--workers", "3", "--store", str(store)]

    def done() -> int:
        return len(list(store.glob("*/record.json")))

    with (tmp_path / "first.txt").open("wb") as said:
        driver = subprocess.Popen(by_ray, cwd=tmp_path, env=environ, stdout=said, stderr=said)
        try:
            wait_for(lambda: done() >= 2 and len(workers()) >= 2, 900, driver)
            cluster.remove_node(cluster.spare.pop(), allow_graceful=False)
            os.kill(wait_for(workers, 300, driver)[0], signal.SIGKILL)
            before = done()
            wait_for(lambda: done() > before + 2, 900, driver)
        finally:
            driver.kill()
            driver.wait()
    first = by_id(store)
    assert 3 < len(first) < 24
    stamps = {run: (store / run / "record.json").stat().st_mtime_ns for run in first}

    again = subprocess.run(by_ray, cwd=tmp_path, env=environ, capture_output=True, timeout=1500)
    assert again.returncode == 0, again.stderr.decode()
    assert f"{len(first)} done already" in again.stderr.decode()
    found = by_id(store)
    assert [record.status for record in found.values()] == 24 * ["ok"]
    assert {run: (store / run / "record.json").stat().st_mtime_ns for run in first} == stamps  # nothing twice
    assert not list(store.glob("*/journal"))
    assert len(list(store.glob("dense/*/dense.json"))) == 4
    assert len(list(store.glob("*/network.safetensors"))) == 24

    local = tmp_path / "local"
    alone = [*words, "--workers", "2", "--store", str(local)]
    calm = subprocess.run(alone, cwd=tmp_path, env=environ, capture_output=True, timeout=1500)
    assert calm.returncode == 0, calm.stderr.decode()
    expected = by_id(local)
    assert {run: results(record) for run, record in found.items()} == {
        run: results(record) for run, record in expected.items()
    }


def results(record: Record) -> tuple[Any, ...]:
    assert record.dense is not None and record.pruned is not None
    ledger = {name: phase.model_dump(exclude={"device_seconds"}) for name, phase in record.ledger.items()}
    return record.dense.weights_sha256, record.pruned.weights_sha256, record.pruned.correct_test, record.curve, ledger
