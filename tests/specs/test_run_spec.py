"""A run's identity: the same everywhere, and another one whenever anything that decides the result is edited."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench import RunSpec, Target
from bench.records.lookup import committed_results
from bench.runner.jobs import RunRequest, make_plan
from bench.specs.run import PROTOCOL
from bench.specs.schema1 import run_id_of_schema_1
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
        "from bench.runner.jobs import RunRequest, make_plan\n"
        "print([job.spec.run_id for job in make_plan(RunRequest(('hbfp', 'scratch'), targets=('macs=0.5',)))])"
    )
    here = str([job.spec.run_id for job in make_plan(RunRequest(("hbfp", "scratch"), targets=("macs=0.5",)))])
    environ = os.environ | {"PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_what_is_at_its_default_is_not_in_the_identity_so_that_a_new_field_changes_no_id(spec: RunSpec) -> None:
    track = spec.identity()["track"]
    assert not {"precision", "summary", "targets", "tries"} & track.keys()
    assert not {"device_seconds", "search_share"} & track["budget"].keys()
    assert not {"momentum", "optimiser", "augment"} & track["dense"].keys()
    assert track["dense"]["epochs"] == 20
    assert "weights_sha256" not in spec.identity() and "schema" not in spec.identity()


@pytest.mark.parametrize(
    "fields",
    [
        {"network_sha256": "cd"},
        {"weights_sha256": "cd"},
        {"data_sha256": "cd"},
        {"protocol": PROTOCOL + 1},
    ],
)
def test_network_weights_images_and_harness_change_the_id(spec: RunSpec, fields: dict[str, Any]) -> None:
    assert replace(spec, **fields).run_id != spec.run_id


def test_what_is_only_said_to_people_leaves_the_id_alone(spec: RunSpec) -> None:
    said = replace(spec, data_fingerprint="cd", sources={"method": {"a": "b"}})
    assert (said.run_id, said) == (spec.run_id, spec)


def test_the_id_of_a_committed_record_of_schema_1_follows_from_its_own_fields() -> None:
    for path in sorted(committed_results().glob("*/record.json"))[::40]:
        record = json.loads(path.read_bytes())
        manifest = {name: record["manifest"][name] for name in ("method_sha256", "precision", "device_class")}
        assert run_id_of_schema_1({**record, **manifest, "unit": record["budget"]["unit"]}) == record["run_id"]
