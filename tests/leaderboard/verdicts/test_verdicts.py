"""A verdict never says more than the records hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.leaderboard.pages.site import write_leaderboard
from bench.leaderboard.verdicts.verdict_columns import COLUMNS
from bench.leaderboard.verdicts.verdicts import ClaimVerdict, as_json, verdicts
from bench.records.record import Record
from bench.specs.claim import Claim

MakeRecord = Callable[..., Record]
SIZE = {"measure": "macs_reduction", "claimed": 50, "target": "macs=0.5", "loss": 0.0, "loss_tolerance": 1.0}
LEAD = {"measure": "top1_lead", "claimed": 0, "target": "macs=0.5", "rival": "random"}


def claim(*numbers: dict[str, Any], **fields: Any) -> Claim:
    made = {
        "name": "made-up",
        "summary": "A number.",
        "method": "l1",
        "paper": "Somebody 2020",
        "track": "digits-lenet5",
        "numbers": [{"source": "table 1", **number} for number in numbers or (SIZE,)],
    }
    return Claim.model_validate(made | fields)


@pytest.fixture
def runs(make_record: MakeRecord) -> Callable[..., list[Record]]:
    """Records of the made-up claim, one a seed, with these accuracies (dense: 0.9)."""

    def make(tops: dict[int, float], method: str = "l1", **fields: Any) -> list[Record]:
        track = claim().track
        own = {"track": track.name, "track_fields": track.model_dump(mode="json"), **fields}
        return [
            make_record(method=method, seed=seed, top1=top1, run_id=f"{method}-{seed}", **own)
            for seed, top1 in tops.items()
        ]

    return make


def only(found: list[ClaimVerdict]) -> ClaimVerdict:
    (verdict,) = found
    return verdict


def test_a_number_with_both_sides_is_reproduced(runs: Callable[..., list[Record]]) -> None:
    verdict = only(verdicts([claim()], runs({0: 0.9, 1: 0.89, 2: 0.895})))
    assert verdict.word == "reproduced"
    assert verdict.measured is not None and verdict.measured.mean == pytest.approx(50)
    assert verdict.loss is not None and verdict.loss.mean == pytest.approx(0.5)
    assert verdict.difference == pytest.approx(0)
    assert verdict.seeds == (0, 1, 2)


def test_a_size_without_its_accuracy_is_not(runs: Callable[..., list[Record]]) -> None:
    verdict = only(verdicts([claim()], runs({0: 0.88, 1: 0.88, 2: 0.88})))
    assert verdict.word == "not reproduced"
    assert "2.00 points lost, 1 allowed" in verdict.why


def test_an_accuracy_without_its_size_is_not(runs: Callable[..., list[Record]]) -> None:
    bigger = SIZE | {"claimed": 60}
    assert only(verdicts([claim(bigger)], runs({0: 0.9, 1: 0.9, 2: 0.9}))).word == "not reproduced"
    near = bigger | {"tolerance": 10}
    assert only(verdicts([claim(near)], runs({0: 0.9, 1: 0.9, 2: 0.9}))).word == "reproduced"


def test_without_every_seed_it_is_not_run_and_says_the_command_and_the_cost(
    runs: Callable[..., list[Record]],
) -> None:
    guess = {"hours_a_run": 0.5, "device": "a laptop", "basis": "a wild guess"}
    verdict = only(verdicts([claim(estimated=guess)], runs({0: 0.9, 1: 0.9})))
    assert (verdict.word, verdict.measured, verdict.seeds) == ("not run", None, (0, 1))
    assert verdict.why == "2 of 3 seeds have a record"
    assert verdict.command == "bench run --claim made-up --target macs=0.5"
    assert verdict.hours == pytest.approx(3 * 2 * 0.5)  # the control's runs too
    assert "a wild guess" in verdict.hours_basis


@pytest.mark.parametrize(
    "other",
    [
        {"track": "digits-lenet5"},
        {"target": "macs=0.25"},
        {"track_fields": claim(schedule={"budget": {"dense_epochs": 50}}).track.model_dump(mode="json")},
        {"track_fields": {"dataset": "digits"}},
    ],
)
def test_runs_of_other_tracks_targets_and_schedules_do_not_count(
    runs: Callable[..., list[Record]], other: dict[str, Any]
) -> None:
    tops = {0: 0.9, 1: 0.9, 2: 0.9}
    fields = {"track": claim().track.name, "track_fields": claim().track.model_dump(mode="json"), "target": "macs=0.5"}
    records = [Record.model_validate(record.model_dump(by_alias=True) | fields | other) for record in runs(tops)]
    assert only(verdicts([claim()], records)).word == "not run"


def test_runs_with_other_settings_do_not_count(runs: Callable[..., list[Record]]) -> None:
    asked = claim(settings={"scope": "global", "steps": 2})
    tops = {0: 0.9, 1: 0.9, 2: 0.9}
    assert only(verdicts([asked], runs(tops, config={"scope": "uniform", "steps": 2}))).word == "not run"
    assert only(verdicts([asked], runs(tops, config={"scope": "global", "steps": 2.0}))).word == "reproduced"


def test_runs_on_different_devices_are_not_mixed(runs: Callable[..., list[Record]]) -> None:
    here = runs({0: 0.9, 1: 0.9}, manifest={"device_class": "cpu"})
    there = runs({2: 0.9}, manifest={"device_class": "NVIDIA H200"})
    assert only(verdicts([claim()], here + there)).word == "not run"


def test_a_failed_seed_reproduces_nothing(runs: Callable[..., list[Record]]) -> None:
    records = runs({0: 0.9, 1: 0.9}) + runs({2: 0.9}, status="missed-target")
    verdict = only(verdicts([claim()], records))
    assert (verdict.word, verdict.why) == ("not reproduced", "seed 2: missed-target")


def test_a_lead_is_paired_by_seed(runs: Callable[..., list[Record]]) -> None:
    mine, rival = {0: 0.90, 1: 0.80, 2: 0.70}, {0: 0.89, 1: 0.79, 2: 0.69}
    verdict = only(verdicts([claim(LEAD)], runs(mine) + runs(rival, method="random")))
    assert verdict.word == "reproduced"
    assert verdict.measured is not None
    assert verdict.measured.mean == pytest.approx(1)
    assert verdict.measured.half_width == pytest.approx(0, abs=1e-9)  # the seeds' own spread cancels
    assert only(verdicts([claim(LEAD)], runs(mine))).word == "not run"


def test_a_lead_that_must_be_significant_needs_its_interval_above(runs: Callable[..., list[Record]]) -> None:
    mine, rival = {0: 0.90, 1: 0.80, 2: 0.70}, {0: 0.87, 1: 0.80, 2: 0.69}
    records = runs(mine) + runs(rival, method="random")
    assert only(verdicts([claim(LEAD)], records)).word == "reproduced"
    assert only(verdicts([claim(LEAD | {"significant": True})], records)).word == "not reproduced"


def test_the_dense_control_stands_beside(runs: Callable[..., list[Record]]) -> None:
    control = runs({0: 0.91, 1: 0.92, 2: 0.93}, method="dense", target="none", control=True)
    verdict = only(verdicts([claim()], runs({0: 0.9, 1: 0.9, 2: 0.9}) + control))
    assert verdict.dense_gain is not None
    assert verdict.dense_gain.mean == pytest.approx(2)
    values = as_json(verdict)
    assert values["dense_gain_points"]["mean"] == pytest.approx(2)
    assert values["verdict"] == "reproduced"


def test_convolutions_alone_are_counted_where_the_number_says_so(
    make_record: MakeRecord, runs: Callable[..., list[Record]]
) -> None:
    alone = SIZE | {"measure": "macs_reduction_convolutions", "claimed": 90}
    records = []
    for record in runs({0: 0.9, 1: 0.9, 2: 0.9}):
        assert record.dense and record.pruned
        dense = record.dense.model_copy(update={"macs_convolutions": 800})
        pruned = record.pruned.model_copy(update={"macs_convolutions": 80})
        records.append(record.model_copy(update={"dense": dense, "pruned": pruned}))
    verdict = only(verdicts([claim(alone)], records))
    assert verdict.measured is not None
    assert (verdict.word, verdict.measured.mean) == ("reproduced", pytest.approx(90))
    without = only(verdicts([claim(alone)], runs({0: 0.9, 1: 0.9, 2: 0.9})))
    assert (without.word, without.why) == ("not reproduced", "the records lack the measure")


def test_every_column_has_a_text_for_every_verdict(runs: Callable[..., list[Record]]) -> None:
    found = verdicts([claim(SIZE, LEAD)], [])
    found += verdicts([claim(SIZE, LEAD)], runs({0: 0.9, 1: 0.9, 2: 0.9}))
    for verdict in found:
        texts = {column.title: column.cell(verdict) for column in COLUMNS}
        assert all(texts.values())
        assert texts["verdict"] == verdict.word


def test_the_page_shows_claims_apart_from_tracks(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bench.leaderboard.pages import site as page

    monkeypatch.setattr(page, "claim_names", lambda: ("made-up",))
    hostile = claim(name="made-up", summary="<script>alert(1)</script>")
    monkeypatch.setattr(page, "load_claim", lambda _name: hostile)
    own = {"track": hostile.track.name, "track_fields": hostile.track.model_dump(mode="json")}
    records = [make_record(seed=seed, run_id=f"l1-{seed}", **own) for seed in range(3)]
    index = write_leaderboard(records, [], tmp_path).read_text()
    assert "1 not reproduced" in " ".join(index.split()) and hostile.track.name not in index
    text = (tmp_path / "claims.html").read_text()
    assert "10.00 points lost, 1 allowed" in text
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
