"""`bench compare`: what differs, results side by side, and a warning when they cannot be held against each other."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli.main import main
from bench.errors import UsageError
from bench.leaderboard.compare.compare import compare_runs
from bench.leaderboard.compare.compare_text import as_json
from bench.records.record import Record

Make = Callable[..., Record]


def with_bits(record: Record, *wrong: int) -> Record:
    bits = np.ones(400, dtype=bool)
    bits[list(wrong)] = False
    text = base64.b64encode(np.packbits(bits).tobytes()).decode()
    assert record.pruned
    pruned = record.pruned.model_copy(update={"correct_test": text, "top1_test": int(bits.sum()) / 400})
    return record.model_copy(update={"pruned": pruned})


def layers(*widths: tuple[str, int, int]) -> list[dict[str, Any]]:
    same = {"params": 1, "nonzero": 1, "macs": 1}
    return [{"name": name, "width_before": before, "width_after": after, **same} for name, before, after in widths]


def test_settings_and_facts_that_differ_are_named_and_equal_ones_are_not(make_record: Make) -> None:
    one = make_record(config={"scope": "global", "power": 1}, seed=0)
    two = make_record(config={"scope": "uniform", "power": 1}, seed=1)
    found = {(each.group, each.name): each.values for each in compare_runs([one, two]).differing}
    assert found == {("run", "seed"): (0, 1), ("setting", "scope"): ("global", "uniform")}


def test_the_difference_comes_with_an_interval_and_an_exact_test(make_record: Make) -> None:
    one, two = with_bits(make_record(), 0), with_bits(make_record(method="hbfp"), 1, 2, 3)
    (against,) = compare_runs([one, two]).against
    assert against.difference is not None and against.mcnemar is not None
    assert against.difference.mean == pytest.approx(-2 / 400)
    assert (against.mcnemar.only_first, against.mcnemar.only_second) == (3, 1)
    assert against.mcnemar.p == pytest.approx(0.625)


def test_comparable_runs_bring_no_warning(make_record: Make) -> None:
    assert compare_runs([make_record(), make_record(method="hbfp", target="macs=0.25")]).comparable


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"track": "mnist"}, "other track: digits | mnist"),
        ({"device_class": "NVIDIA H200"}, "other device class: cpu | NVIDIA H200"),
        ({"budget": {"amount": 5.0, "unit": "device_seconds"}}, "other budget: 50 dense_epochs | 5 device_seconds"),
        ({"manifest": {"device_class": "cpu", "data_fingerprint": "ab"}}, "other data fingerprint: (none) | ab"),
        ({"manifest": {"device_class": "cpu", "dense_sha256": "ab"}}, "other dense network"),
        ({"track_fields": {"dataset": "digits", "network": "vgg16", "floor": 0.9}}, "other track fields: network"),
        ({"status": "missed-target"}, "hbfp-digits-macs0.5-s0-0123456789ab is missed-target"),
    ],
)
def test_what_cannot_be_compared_brings_a_warning(make_record: Make, fields: dict[str, Any], warning: str) -> None:
    comparison = compare_runs([make_record(), make_record(method="hbfp", **fields)])
    assert not comparison.comparable
    assert warning in "; ".join(comparison.warnings)


def test_layers_stand_side_by_side_though_the_networks_differ(make_record: Make) -> None:
    one = make_record(layers=layers(("conv1", 20, 10), ("fc", 10, 10)))
    two = make_record(method="hbfp", layers=layers(("conv1", 20, 7), ("conv2", 50, 25)))
    rows = {row.name: (row.before, row.after) for row in compare_runs([one, two]).layers}
    assert rows == {
        "conv1": ((20, 20), (10, 7)),
        "fc": ((10, None), (10, None)),
        "conv2": ((None, 50), (None, 25)),
    }


def test_a_failed_run_is_shown_without_numbers(make_record: Make) -> None:
    failed = make_record(method="hbfp").model_copy(update={"status": "failed", "dense": None, "pruned": None})
    comparison = compare_runs([make_record(), failed])
    values = {measure.name: measure.values for measure in comparison.results}
    assert values["top-1 test, pruned"] == (0.8, None)
    assert comparison.against[0].difference is None


def test_one_run_is_nothing_to_compare(make_record: Make) -> None:
    with pytest.raises(UsageError, match="two different runs"):
        compare_runs([make_record(), make_record()])


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def store(make_record: Make, tmp_path: Path) -> Path:
    """A store with two runs, one with hostile text."""
    hostile = {"scope": "[red]x[/] \x1b[2J"}
    for record in (with_bits(make_record(), 0), with_bits(make_record(method="hbfp", config=hostile), 1, 2)):
        (tmp_path / record.run_id).mkdir()
        (tmp_path / record.run_id / "record.json").write_text(record.to_json())
    return tmp_path


def typed(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["compare", *words])
    return int(end.value.code or 0)


def test_the_command_takes_beginnings_of_ids_and_paths(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = store / "hbfp-digits-macs0.5-s0-0123456789ab" / "record.json"
    assert typed("l1-", str(path), "--store", str(store)) == 0
    said = capsys.readouterr().out
    assert "(2) minus (1): -0.25 ± " in said and "McNemar's exact test: p = 1" in said
    assert "[red]x[/] \\x1b[2J" in said and "\x1b" not in said


def test_the_command_gives_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("l1-", "hbfp-", "--store", str(store), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["comparable"] is True
    assert said["results"]["top-1 test, pruned"] == [0.9975, 0.995]
    assert said["top1_test_against_first"][0]["mcnemar"]["only_first"] == 2


def test_json_stays_json_whatever_a_setting_holds(make_record: Make) -> None:
    comparison = compare_runs([make_record(config={"power": float("nan")}), make_record(config={"power": 1.0})])
    said = json.dumps(as_json(comparison), allow_nan=False)
    assert json.loads(said)["differing"] == [{"group": "setting", "name": "power", "values": ["NaN", 1.0]}]


def test_wrong_usage_ends_with_code_2(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed() == 2
    assert typed("l1-", "--store", str(store)) == 2
    assert "takes two different runs or more" in capsys.readouterr().err
    assert typed("l1-", "l3-", "--store", str(store)) == 2
    assert "unknown run 'l3-'" in capsys.readouterr().err
