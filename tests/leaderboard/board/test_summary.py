"""Aggregation, with numbers computed by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.leaderboard.board.board import Badges, Estimate, seed_status
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.columns import columns, heading
from bench.records.evidence import VERIFIED, evidence_below
from bench.records.record import Record
from bench.records.store import Unreadable

MakeRecord = Callable[..., Record]


def test_student_interval_of_three_values() -> None:
    # Mean 0.82, sample deviation 0.02, t(0.975, 2) = 4.302653: 4.302653 * 0.02 / sqrt(3) = 0.0496827.
    estimate = Estimate.of([0.80, 0.82, 0.84])
    assert (estimate.mean, estimate.n) == (pytest.approx(0.82), 3)
    assert estimate.half_width == pytest.approx(0.0496827, abs=1e-6)


def test_student_interval_of_two_values() -> None:
    # Deviation 0.1 * sqrt(2) / 2, t(0.975, 1) = 12.706205: 12.706205 * 0.05 = 0.635310.
    assert Estimate.of([0.8, 0.9]).half_width == pytest.approx(0.635310, abs=1e-5)


def test_one_value_has_no_interval() -> None:
    assert Estimate.of([0.8]) == Estimate(0.8, None, 1)


def test_difference_is_paired_by_seed(make_record: MakeRecord) -> None:
    records = [
        make_record(seed=seed, top1=top1, dense_top1=dense)
        for seed, top1, dense in ((0, 0.80, 0.90), (1, 0.82, 0.93), (2, 0.84, 0.96))
    ]
    (table,) = summarise(records).tracks[0].tables
    (row,) = table.rows
    # Differences -0.10, -0.11, -0.12: mean -0.11, deviation 0.01, half of the interval above's width.
    assert row.difference.mean == pytest.approx(-0.11)
    assert row.difference.half_width == pytest.approx(0.0248414, abs=1e-6)
    assert row.dense_top1_test.mean == pytest.approx(0.93)
    assert table.dense_top1_test.mean == pytest.approx(0.93)
    assert [run.seed for run in row.runs] == [0, 1, 2]


def test_costs_and_sizes_are_means_over_seeds(make_record: MakeRecord) -> None:
    records = [
        make_record(seed=0, pruned_ms=(1.0, 6.0)),
        make_record(seed=1, macs=400_000, pruned_ms=(0.6, 2.0)),
    ]
    (row,) = summarise(records).tracks[0].tables[0].rows
    assert row.macs_ratio == pytest.approx(0.45)
    assert row.macs.mean == 450_000
    assert row.device_seconds == pytest.approx(60.5)
    assert row.spent == pytest.approx(0.9)
    assert [(change.batch, change.speedup) for change in row.latency] == [
        (1, pytest.approx(2.5)),
        (64, pytest.approx(3.0)),
    ]


def test_spent_of_a_budget_in_seconds_comes_from_the_ledger(make_record: MakeRecord) -> None:
    record = make_record(budget={"amount": 120.0, "unit": "device_seconds"}, curve=[])
    assert summarise([record]).tracks[0].tables[0].rows[0].spent == pytest.approx(0.5)
    uncounted = make_record(budget={"amount": 50.0, "unit": "dense_epochs"})
    assert summarise([uncounted]).tracks[0].tables[0].rows[0].spent is None


def test_standing() -> None:
    expected = ["listed", "listed", "provisional", "provisional", "ranked", "ranked"]
    assert [seed_status(seeds) for seeds in range(1, 7)] == expected


def test_a_record_counts_once(make_record: MakeRecord) -> None:
    (track,) = summarise([make_record(), make_record()]).tracks
    assert track.runs == 1
    assert track.left_out == ()


def test_what_may_not_be_compared_stands_apart(make_record: MakeRecord) -> None:
    records = [
        make_record(),
        make_record(run_id="a", kind="unstructured", method="magnitude"),
        make_record(run_id="b", budget={"amount": 60.0, "unit": "dense_epochs"}),
        make_record(run_id="c", budget={"amount": 50.0, "unit": "device_seconds"}),
        make_record(run_id="d", device_class="NVIDIA H200"),
        make_record(run_id="e", track_fields={"network": "lenet300"}),
        make_record(run_id="f", track="other"),
    ]
    board = summarise(records)
    assert [len(track.tables) for track in board.tracks] == [6, 1]
    assert all(table.edition for table in board.tracks[0].tables)
    assert board.tracks[1].tables[0].edition == ""


def test_fields_that_decide_no_number_do_not_split_a_table(make_record: MakeRecord) -> None:
    records = [
        make_record(seed=seed, track_fields={"network": "lenet5", "seeds": [seed], "summary": str(seed)})
        for seed in (0, 1)
    ]
    (table,) = summarise(records).tracks[0].tables
    assert table.rows[0].top1_test.n == 2


def test_settings_make_a_row_of_their_own(make_record: MakeRecord) -> None:
    records = [
        make_record(run_id="a", config={"rounds": 1, "rate": 0.5}, top1=0.7),
        make_record(run_id="b", config={"rounds": 2, "rate": 0.5}, top1=0.8),
    ]
    (table,) = summarise(records).tracks[0].tables
    assert [row.label for row in table.rows] == ["l1 (rounds=2)", "l1 (rounds=1)"]


def test_code_makes_a_row_of_its_own(make_record: MakeRecord) -> None:
    records = [
        make_record(run_id=name, manifest={"device_class": "cpu", "method_sha256": name * 12}) for name in ("a", "b")
    ]
    (table,) = summarise(records).tracks[0].tables
    assert [row.variant for row in table.rows] == ["code aaaaaaaa", "code bbbbbbbb"]


def test_a_second_run_of_a_seed_is_no_second_seed(make_record: MakeRecord) -> None:
    (track,) = summarise([make_record(run_id="b"), make_record(run_id="a")]).tracks
    assert track.tables[0].rows[0].top1_test.n == 1
    assert [each.run_id for each in track.left_out] == ["b"]
    assert "a is counted" in track.left_out[0].reason


def test_targets_are_in_order_and_the_best_mean_is_first(make_record: MakeRecord) -> None:
    records = [
        make_record(target="macs=0.1"),
        make_record(target="macs=0.5", top1=0.7),
        make_record(method="hbfp", target="macs=0.5", top1=0.8),
        make_record(method="dense", target="none", control=True),
        make_record(method="amc", target="auto"),
    ]
    (table,) = summarise(records).tracks[0].tables
    assert table.targets == ("none", "macs=0.5", "macs=0.1")
    assert [row.method for row in table.at("macs=0.5")] == ["hbfp", "l1"]
    assert [row.method for row in table.curve_only] == ["amc"]


def test_what_is_left_out_has_a_reason(make_record: MakeRecord) -> None:
    records = [
        make_record(seed=0, status="failed", error="Traceback\nValueError: no\n", pruned=None, ratios=None),
        make_record(seed=1, status="missed-target", macs=620_000),
        make_record(seed=2, status="undertrained", dense_top1=0.43),
        make_record(seed=3, status="invalid", error="GuardViolation: work behind the trial's back"),
        make_record(seed=4, dense=None),
    ]
    (track,) = summarise(records).tracks
    assert track.tables == ()
    assert [each.reason for each in track.left_out] == [
        "ValueError: no",
        "reached macs=0.62",
        "the dense network's validation top-1 is 0.43, below the floor 0.95",
        "GuardViolation: work behind the trial's back",
        "the record lacks the dense or the pruned network's measures",
    ]


def test_an_unreadable_file_is_named_without_its_disk() -> None:
    path = Path("/somebody/store/l1-s0/record.json")
    board = summarise([], [Unreadable(path, f"record {path}: schema 9")])
    assert board.unreadable == (("l1-s0/record.json", "schema 9"),)


def test_the_columns_of_a_row(make_record: MakeRecord) -> None:
    records = [make_record(seed=seed, top1=0.8 + 0.02 * seed, track_fields={"ranked": False}) for seed in range(3)]
    (table,) = summarise(records).tracks[0].tables
    (row,) = table.rows
    assert heading(table) == "Structured, 50 dense epochs, cpu"
    assert {column.title: column.cell(row) for column in columns(table, ranked=False)} == {
        "device time": "61 s",
        "top-1": "82.00 ± 4.97 %",
        "dense": "90.00 %",
        "difference": "−8.00 ± 4.97",
        "seeds": "3",
        "MACs": "50.0 %",
        "own epochs": "90",  # 45 dense epochs at half the MACs; these records charge the dense network nothing
        "params": "40.0 %",
        "compression": "2.50×",
        "latency, batch 1": "2 → 1 ms (2.00×)",
        "latency, batch 64": "12 → 6 ms (2.00×)",
        "spent": "90 %",
        "evidence": "no network: unproven",
    }


def test_a_latency_needs_a_dense_network_that_agrees(make_record: MakeRecord) -> None:
    """The dense network takes 2 ms in most runs, and 2.5 ms in one of b's."""
    records = [make_record(method=method, seed=seed) for method in ("a", "b") for seed in range(3)]
    slow = records[-1].dense.latency[0].model_copy(update={"median_seconds": 0.0025})
    dense = records[-1].dense.model_copy(update={"latency": (slow, *records[-1].dense.latency[1:])})
    records[-1] = records[-1].model_copy(update={"dense": dense})
    a, b = summarise(records).tracks[0].tables[0].rows
    assert [change.doubt for change in a.latency] == ["", ""]
    assert [change.doubt for change in b.latency] == ["not shown: dense network off by 25 %", ""]


def test_what_lies_beside_a_record(make_record: MakeRecord, tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in range(3)]
    for record, note in zip(records, ('{"equal": true, "another_machine": true}', '{"equal": true}', "{"), strict=True):
        folder = tmp_path / record.run_id
        folder.mkdir()
        (folder / VERIFIED).write_text(note)
        if record.seed:
            (folder / "network.safetensors").touch()
    (row,) = summarise(records, (), evidence_below(tmp_path)).tracks[0].tables[0].rows
    assert row.badges == Badges(seeds=3, tries=None, networks=2, verified=1)


def test_identical_networks_are_one_row(make_record: MakeRecord) -> None:
    records = []
    for method in ("a", "b", "c"):
        for seed in range(3):
            record = make_record(method=method, seed=seed)
            same = {"a": "same", "b": "same", "c": "same" if seed else "other"}[method]
            pruned = record.pruned.model_copy(update={"weights_sha256": f"{same}{seed}"})
            records.append(record.model_copy(update={"pruned": pruned}))
    table = summarise(records).tracks[0].tables[0]
    assert [row.label for row in table.rows] == ["a = b", "c"]
    assert table.ranking.targets[0].pairs == 1
