"""`bench doctor`: what it says of a machine, and what it asks for."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.cli import examination
from bench.cli.examination import Finding, examine


def findings(store: Path, data: Path, **environment: str) -> dict[str, Finding]:
    found = examine(store, data, {"HOME": str(store), **environment})
    return {f"{each.about} {each.state}" if each.about == "data sets" else each.about: each for each in found}


def test_it_says_what_is_there_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    found = findings(tmp_path / "runs", tmp_path)
    assert found["libraries"].state == "fine"
    assert "G MACs/s training" in found["CPU"].found
    assert {"digits", "imagenet"} <= set(found["data sets fine"].found.split(", "))
    assert {"cifar10", "mnist:"} <= set(found["data sets missing"].found.replace(", ", " ").split())
    assert found["W&B"].found == "runs go offline"
    assert "wandb login" in found["W&B"].action
    assert "not there yet" in found["store"].found
    assert not [each for each in found.values() if each.state == "broken"]
    assert all(each.action for each in found.values() if each.state != "fine")


def test_what_stands_in_the_way_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 10})())
    monkeypatch.setattr(examination, "_version", lambda name: "0.1" if name == "torch" else "9999")
    monkeypatch.setattr(examination, "_devices", lambda: iter(()))
    found = findings(tmp_path / "runs", tmp_path, WANDB_MODE="of")
    assert found["torch"].state == "broken" and "pip install 'torch" in found["torch"].action
    assert found["W&B"].state == "broken"
    assert found["store"].state == "broken" and "free some disk" in found["store"].action


def test_the_command_ends_with_zero_where_runs_are_possible(bench: Callable[..., CompletedProcess[str]]) -> None:
    done = bench("doctor", "--json")
    assert done.returncode == 0, done.stderr
    assert {each["state"] for each in json.loads(done.stdout)} <= {"fine", "missing"}
