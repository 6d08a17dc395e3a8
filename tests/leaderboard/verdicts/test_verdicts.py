"""A verdict never says more than the records hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.leaderboard.pages.site import write_leaderboard
from bench.leaderboard.pages.verdict_columns import COLUMNS
from bench.leaderboard.verdicts.verdicts import ClaimVerdict, as_json, verdicts
from bench.records.record import Record
from bench.specs.claim import Claim
from bench.specs.track import load_track

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


@pytest.fixture
def control(runs: Callable[..., list[Record]]) -> list[Record]:
    """The dense network with the same training, no better for it."""
    return runs({0: 0.9, 1: 0.9, 2: 0.9}, method="dense", target="none", control=True)


def only(found: list[ClaimVerdict]) -> ClaimVerdict:
    (verdict,) = found
    return verdict


def test_a_number_with_both_sides_is_reproduced(runs: Callable[..., list[Record]], control: list[Record]) -> None:
    verdict = only(verdicts([claim()], runs({0: 0.9, 1: 0.897, 2: 0.897}) + control))
    assert verdict.word == "reproduced"
    assert verdict.measured is not None and verdict.measured.mean == pytest.approx(50)
    # Losses 0, 0.3, 0.3 points: mean 0.2, deviation 0.173205, t(0.95, 2) = 2.919986: 0.2 + 0.292 = 0.492.
    assert verdict.loss is not None and verdict.loss.mean == pytest.approx(0.2)
    assert verdict.loss.upper == pytest.approx(0.492, abs=1e-4)
    assert verdict.loss.lower == pytest.approx(-0.092, abs=1e-4)
    assert verdict.difference == pytest.approx(0)
    assert verdict.seeds == (0, 1, 2)
    assert verdict.by_construction
    assert "that size was asked for" in verdict.why


def test_a_mean_on_the_right_side_of_the_limit_is_not_enough(
    runs: Callable[..., list[Record]], control: list[Record]
) -> None:
    """Losses 0, 0.5 and 1 point: mean 0.5, but the bound is 0.5 + 0.843 = 1.34 where 1 is allowed."""
    verdict = only(verdicts([claim()], runs({0: 0.9, 1: 0.895, 2: 0.89}) + control))
    assert verdict.word == "inconclusive"
    assert "0.50 points (95 % bounds -0.34 and 1.34) lost, 1 allowed" in verdict.why


def test_a_size_without_its_accuracy_is_refuted(runs: Callable[..., list[Record]], control: list[Record]) -> None:
    verdict = only(verdicts([claim()], runs({0: 0.88, 1: 0.881, 2: 0.879}) + control))
    assert verdict.word == "refuted"
    assert "2.00 points" in verdict.why


def test_an_accuracy_without_its_size_is_refuted(runs: Callable[..., list[Record]], control: list[Record]) -> None:
    bigger = SIZE | {"claimed": 60}
    records = runs({0: 0.9, 1: 0.9, 2: 0.9}) + control
    assert only(verdicts([claim(bigger)], records)).word == "refuted"
    near = bigger | {"tolerance": 10}
    assert only(verdicts([claim(near)], records)).word == "reproduced"


def test_the_control_is_held_against_it_too(runs: Callable[..., list[Record]]) -> None:
    """No loss against the dense network, and three points against the same network trained on."""
    mine = runs({0: 0.9, 1: 0.9, 2: 0.9})
    without = only(verdicts([claim()], mine))
    assert without.word == "inconclusive"
    assert "the dense control with the same training was not run" in without.why
    better = runs({0: 0.93, 1: 0.93, 2: 0.93}, method="dense", target="none", control=True)
    verdict = only(verdicts([claim()], mine + better))
    assert verdict.word == "inconclusive"
    assert verdict.control_loss is not None and verdict.control_loss.mean == pytest.approx(3)
    assert as_json(verdict)["control_loss_points"]["upper"] == pytest.approx(3)


def test_one_seed_settles_nothing(runs: Callable[..., list[Record]], control: list[Record]) -> None:
    verdict = only(verdicts([claim(seeds=[0])], runs({0: 0.5}) + control))
    assert verdict.word == "inconclusive"
    assert as_json(verdict)["loss_points"]["upper"] is None


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


def test_runs_with_other_settings_do_not_count(runs: Callable[..., list[Record]], control: list[Record]) -> None:
    asked = claim(settings={"scope": "global", "steps": 2})
    tops = {0: 0.9, 1: 0.9, 2: 0.9}
    assert only(verdicts([asked], runs(tops, config={"scope": "uniform", "steps": 2}))).word == "not run"
    assert only(verdicts([asked], runs(tops, config={"scope": "global", "steps": 2.0}) + control)).word == "reproduced"


def test_runs_on_different_devices_are_not_mixed(runs: Callable[..., list[Record]]) -> None:
    here = runs({0: 0.9, 1: 0.9}, manifest={"device_class": "cpu"})
    there = runs({2: 0.9}, manifest={"device_class": "NVIDIA H200"})
    assert only(verdicts([claim()], here + there)).word == "not run"


def test_a_failed_seed_reproduces_nothing(runs: Callable[..., list[Record]]) -> None:
    records = runs({0: 0.9, 1: 0.9}) + runs({2: 0.9}, status="missed-target")
    verdict = only(verdicts([claim()], records))
    assert (verdict.word, verdict.why) == ("inconclusive", "seed 2: missed-target")


def test_a_lead_is_paired_by_seed(runs: Callable[..., list[Record]]) -> None:
    mine, rival = {0: 0.90, 1: 0.80, 2: 0.70}, {0: 0.89, 1: 0.79, 2: 0.69}
    verdict = only(verdicts([claim(LEAD)], runs(mine) + runs(rival, method="random")))
    assert verdict.word == "reproduced"
    assert verdict.measured is not None
    assert verdict.measured.mean == pytest.approx(1)
    assert verdict.measured.half_width == pytest.approx(0, abs=1e-9)  # the seeds' own spread cancels
    assert only(verdicts([claim(LEAD)], runs(mine))).word == "not run"


def test_a_claim_without_own_runs_is_read_from_the_table(runs: Callable[..., list[Record]]) -> None:
    track = load_track("digits-lenet5")
    fields = {"track": track.name, "track_fields": track.model_dump(mode="json")}
    mine = {0: 0.90, 1: 0.80, 2: 0.70}
    lot = {
        "config": {"scope": "global"},
        "manifest": {"device_class": "cpu", "command": "bench run --method l1 --set scope=global"},
    }
    records = runs(mine, **fields)
    records += [
        each.model_copy(update={"run_id": f"lot-{each.seed}"})
        for each in runs({0: 0.89, 1: 0.79, 2: 0.69}, **fields, **lot)
    ]
    asked = LEAD | {"rival": "l1", "rival_settings": {"scope": "global"}}
    verdict = only(verdicts([claim(asked, own_runs=False)], records))
    assert (verdict.word, verdict.runs) == ("reproduced", ("l1-0", "l1-1", "l1-2"))
    assert verdict.measured is not None
    assert verdict.measured.mean == pytest.approx(1)
    assert only(verdicts([claim(asked)], records)).word == "not run"  # its own runs, which nobody made


def test_a_lead_needs_its_bound_above(runs: Callable[..., list[Record]]) -> None:
    mine, rival = {0: 0.90, 1: 0.80, 2: 0.70}, {0: 0.87, 1: 0.80, 2: 0.69}
    records = runs(mine) + runs(rival, method="random")
    assert only(verdicts([claim(LEAD)], records)).word == "inconclusive"
    behind = runs({0: 0.86, 1: 0.79, 2: 0.68}) + runs(rival, method="random")
    assert only(verdicts([claim(LEAD)], behind)).word == "refuted"
    level = runs(mine) + runs(mine, method="random")
    assert only(verdicts([claim(LEAD)], level)).word == "reproduced"
    assert only(verdicts([claim(LEAD | {"significant": True})], level)).word == "inconclusive"


def test_convolutions_alone_are_counted_where_the_number_says_so(
    make_record: MakeRecord, runs: Callable[..., list[Record]], control: list[Record]
) -> None:
    alone = SIZE | {"measure": "macs_reduction_convolutions", "claimed": 90}
    records = []
    for record in runs({0: 0.9, 1: 0.9, 2: 0.9}):
        assert record.dense and record.pruned
        dense = record.dense.model_copy(update={"macs_convolutions": 800})
        pruned = record.pruned.model_copy(update={"macs_convolutions": 80})
        records.append(record.model_copy(update={"dense": dense, "pruned": pruned}))
    verdict = only(verdicts([claim(alone)], records + control))
    assert verdict.measured is not None
    assert (verdict.word, verdict.measured.mean) == ("reproduced", pytest.approx(90))
    without = only(verdicts([claim(alone)], runs({0: 0.9, 1: 0.9, 2: 0.9})))
    assert (without.word, without.why) == ("inconclusive", "the records lack the measure")


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
    assert "1 refuted" in " ".join(index.split()) and hostile.track.name not in index
    text = (tmp_path / "claims.html").read_text()
    assert "10.00 points (95 % bounds 10.00 and 10.00) lost, 1 allowed" in text
    settled = text[text.index('id="settled"') :]
    assert settled.index('<th scope="row">refuted</th>') < settled.index("made-up")
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


def test_a_track_whose_runs_settle_a_claim_keeps_its_page(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bench.leaderboard.pages import site as page

    shared = claim(LEAD, own_runs=False)
    monkeypatch.setattr(page, "claim_names", lambda: ("made-up",))
    monkeypatch.setattr(page, "load_claim", lambda _name: shared)
    own = {"track": shared.track.name, "track_fields": shared.track.model_dump(mode="json")}
    records = [make_record(seed=seed, run_id=f"l1-{seed}", **own) for seed in range(3)]
    assert "digits-lenet5" in write_leaderboard(records, [], tmp_path).read_text()
    assert (tmp_path / "track-digits-lenet5.html").is_file()
