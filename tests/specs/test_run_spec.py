"""A run's identity: the same everywhere, and another one whenever anything that decides the result is edited."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import RunSpec, Target
from bench.runner.jobs import Asked, make_plan
from bench.specs.run import source_sha256
from bench.specs.track import load_track


@pytest.fixture
def spec() -> RunSpec:
    return RunSpec(
        method="l1",
        config={"scope": "uniform", "steps": [1, 2]},
        method_sha256="ab",
        track=load_track("digits-lenet5"),
        unit="dense_epochs",
        target=Target("macs", 0.5),
        seed=0,
    )


def with_track(spec: RunSpec, **fields: Any) -> RunSpec:
    return replace(spec, track=spec.track.model_copy(update=fields))


def test_the_id_is_readable_and_names_the_run(spec: RunSpec) -> None:
    assert spec.run_id.startswith("l1-digits-lenet5-macs0.5-s0-")
    assert len(spec.run_id.rpartition("-")[2]) == 12


def test_the_id_does_not_depend_on_the_order_of_the_settings(spec: RunSpec) -> None:
    assert replace(spec, config={"steps": [1, 2], "scope": "uniform"}).run_id == spec.run_id


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: replace(spec, method="l2"),
        lambda spec: replace(spec, config={"scope": "global", "steps": [1, 2]}),
        lambda spec: replace(spec, method_sha256="cd"),
        lambda spec: replace(spec, unit="device_seconds"),
        lambda spec: replace(spec, target=Target("macs", 0.25)),
        lambda spec: replace(spec, target=Target("params", 0.5)),
        lambda spec: replace(spec, target=Target("auto")),
        lambda spec: replace(spec, seed=1),
        lambda spec: replace(spec, device="cuda", device_class="H200"),
        lambda spec: replace(spec, device_class="another GPU"),
        lambda spec: with_track(spec, dataset="mnist"),
        lambda spec: with_track(spec, network="lenet300"),
        lambda spec: with_track(spec, prunable=("conv1",)),
        lambda spec: with_track(spec, tolerance=0.01),
        lambda spec: with_track(spec, threads=3),
        lambda spec: with_track(spec, validation=spec.track.validation.model_copy(update={"images": 100})),
        lambda spec: with_track(spec, dense=spec.track.dense.model_copy(update={"epochs": 1.0})),
        lambda spec: with_track(spec, finetune=spec.track.finetune.model_copy(update={"momentum": 0.5})),
        lambda spec: with_track(spec, budget=spec.track.budget.model_copy(update={"search_share": 0.5})),
        lambda spec: with_track(spec, precision=spec.track.precision.model_copy(update={"cpu": "bfloat16"})),
    ],
)
def test_whatever_decides_the_result_changes_the_id(spec: RunSpec, edit: Callable[[RunSpec], RunSpec]) -> None:
    assert edit(spec).run_id != spec.run_id


@pytest.mark.parametrize(
    "fields", [{"summary": "other words"}, {"targets": ("macs=0.3",)}, {"seeds": (7,)}, {"ranked": True}]
)
def test_what_only_makes_the_plan_leaves_the_id_alone(spec: RunSpec, fields: dict[str, Any]) -> None:
    assert with_track(spec, **fields).run_id == spec.run_id


def test_the_id_is_the_same_in_every_process() -> None:
    code = (
        "from bench.runner.jobs import Asked, make_plan\n"
        "print([job.spec.run_id for job in make_plan(Asked(('hbfp', 'scratch'), targets=('macs=0.5',)))])"
    )
    here = str([job.spec.run_id for job in make_plan(Asked(("hbfp", "scratch"), targets=("macs=0.5",)))])
    environ = os.environ | {"PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two methods that share `_part` and, through it, `_deep`; `_other` belongs to neither."""
    folder = tmp_path / "family"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("from family._part import x\n")
    (folder / "two.py").write_text("from . import _part\nimport torch\n")
    (folder / "_part.py").write_text("from ._deep import x\n")
    (folder / "_deep.py").write_text("x = 1\n")
    (folder / "_other.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "family"]:
        del sys.modules[name]


@pytest.mark.parametrize("module", ["one", "two"])
@pytest.mark.parametrize("edited", ["{}.py", "_part.py", "_deep.py"])
def test_a_methods_hash_follows_the_private_modules_that_it_imports(package: Path, module: str, edited: str) -> None:
    before = source_sha256(f"family.{module}")
    with (package / edited.format(module)).open("a") as file:
        file.write("# edited\n")
    assert source_sha256(f"family.{module}") != before


@pytest.mark.parametrize("edited", ["_other.py", "two.py", "__init__.py"])
def test_a_methods_hash_ignores_what_it_does_not_import(package: Path, edited: str) -> None:
    before = source_sha256("family.one")
    (package / edited).write_text("# edited\n")
    assert source_sha256("family.one") == before
