"""Worker processes: the same results as one process, and a worker that dies costs only its own run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from bench.records.store import read_records

pytestmark = pytest.mark.slow
Bench = Callable[..., CompletedProcess[str]]


def results(store: Path) -> dict[str, dict[str, Any]]:
    """What two stores must agree on, by run."""
    records, unreadable = read_records(store)
    assert not unreadable
    return {
        record.run_id: {
            "status": record.status,
            "dense": record.dense and record.dense.weights_sha256,
            "pruned": record.pruned and record.pruned.weights_sha256,
            "correct": record.pruned and record.pruned.correct_test,
            "ledger": {name: phase.model_dump(exclude={"device_seconds"}) for name, phase in record.ledger.items()},
            "curve": [point.model_dump() for point in record.curve],
        }
        for record in records
    }


def test_two_workers_and_one_process_give_bitwise_equal_networks(
    bench: Bench, smoke_track: Path, tmp_path: Path
) -> None:
    words = ["run", "--method", "hbfp,l1,halve", "--track", str(smoke_track), "--target", "macs=0.5", "--seed", "0"]
    found = []
    for store, workers in ((tmp_path / "one", "1"), (tmp_path / "two", "2")):
        done = bench(*words, "--seed", "1", "--store", str(store), "--wandb", "off", "--workers", workers)
        assert done.returncode == 0, done.stderr
        found.append(results(store))
    assert found[0] == found[1]
    assert len(found[0]) == 6
    assert len({each["dense"] for each in found[0].values()}) == 2


def test_a_run_that_ends_its_process_is_a_record_that_says_so_and_can_be_taken_up_again(
    bench: Bench, smoke_track: Path, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    words = ["run", "--method", "halve,deserter,l1,clumsy", "--track", str(smoke_track), "--target", "macs=0.5"]
    words += ["--store", str(store), "--wandb", "off", "--workers", "2", "--json"]
    for fresh in (True, False):
        done = bench(*words)
        assert done.returncode == 1
        records = json.loads(done.stdout)
        assert [(record["method"], record["status"]) for record in records] == [
            ("halve", "ok"),
            ("deserter", "failed"),
            ("l1", "ok"),
            ("clumsy", "failed"),
        ]
        assert "its process ended before its record was written (exit code 9)" in records[1]["error"]
        assert ("halve smoke macs=0.5 seed 0: done already: ok" in done.stderr) is not fresh
    done = bench(*words, "--retry-failed")
    assert "2 done already, 1 interrupted and taken up, 2 to run" in done.stderr


def test_what_a_worker_cannot_use_ends_the_command_with_its_message(
    bench: Bench, smoke_track: Path, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    words = ["run", "--track", str(smoke_track), "--store", str(store), "--wandb", "off", "--workers", "2"]
    assert bench(*words, "--method", "halve", "--target", "macs=0.5").returncode == 0
    (folder,) = store.glob("dense/*")
    shutil.rmtree(folder)
    folder.write_text("no folder")
    done = bench(*words, "--method", "halve,l1", "--target", "macs=0.25")
    assert done.returncode == 2
    assert f"cannot write {folder}" in done.stderr


def test_a_damaged_dense_network_is_trained_again_and_the_command_goes_on(
    bench: Bench, smoke_track: Path, tmp_path: Path
) -> None:
    words = ["run", "--track", str(smoke_track), "--wandb", "off", "--target", "macs=0.5"]
    stores = tmp_path / "runs", tmp_path / "whole"
    assert bench(*words, "--store", str(stores[0]), "--method", "clumsy").returncode == 1
    words += ["--method", "halve,l1"]
    shutil.copytree(*stores)
    (weights,) = stores[0].glob("dense/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    for store in stores:
        assert bench(*words, "--store", str(store), "--workers", "2").returncode == 0
    assert results(stores[0]) == results(stores[1])
    logs = [path for path in stores[0].glob("*/log.txt") if "It is trained again." in path.read_text()]
    assert len(logs) == 1
