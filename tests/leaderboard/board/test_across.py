"""The summary across targets, with areas worked out by hand."""

import math
from collections.abc import Callable, Sequence

import pytest

from bench.leaderboard.board.across import normalised_area
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.ranking_columns import ranking_tables
from bench.records.record import Record

MakeRecord = Callable[..., Record]
TARGETS = ("macs=0.5", "macs=0.25", "macs=0.125")


def curve(make_record: MakeRecord, method: str, accuracies: Sequence[float], seeds: int = 5, **fields) -> list[Record]:
    """Runs at as many of the targets as there are accuracies; seeds differ by a hundredth of a point."""
    noise = (0.0, 1e-4, -1e-4, 2e-4, -2e-4)
    return [
        make_record(
            method=method,
            target=target,
            seed=seed,
            top1=top1 + noise[seed],
            macs=round(1e6 * float(target.partition("=")[2])),
            **fields,
        )
        for target, top1 in zip(TARGETS, accuracies, strict=False)
        for seed in range(seeds)
    ]


def test_area_by_hand() -> None:
    # Equal steps of log 2: (0.9 + 0.8) / 2 and (0.8 + 0.6) / 2, averaged: 0.775, in whatever order.
    assert normalised_area([0.5, 0.25, 0.125], [0.9, 0.8, 0.6]) == pytest.approx(0.775)
    assert normalised_area([0.125, 0.5, 0.25], [0.6, 0.9, 0.8]) == pytest.approx(0.775)
    # Steps of log 2 and log 5: (0.85 log 2 + 0.7 log 5) / log 10.
    expected = (0.85 * math.log(2) + 0.7 * math.log(5)) / math.log(10)
    assert normalised_area([0.5, 0.25, 0.05], [0.9, 0.8, 0.6]) == pytest.approx(expected)


def test_one_size_has_no_area() -> None:
    assert normalised_area([0.5], [0.9]) is None
    assert normalised_area([0.5, 0.5], [0.9, 0.8]) is None
    assert normalised_area([0.5, 0.0], [0.9, 0.8]) is None


def test_methods_are_ranked_by_their_areas(make_record: MakeRecord) -> None:
    records = [
        *curve(make_record, "a", (0.9, 0.8, 0.6)),
        *curve(make_record, "b", (0.88, 0.8, 0.62)),  # the same area, by another way
        *curve(make_record, "c", (0.9, 0.8, 0.5)),
        *curve(make_record, "d", (0.9, 0.8, 0.4), control=True),
    ]
    (across,) = summarise(records).tracks[0].tables[0].ranking.across
    assert (across.measure, across.targets) == ("macs", TARGETS)
    assert [(row.label, row.rank.low, row.rank.high) for row in across.rows[2:3]] == [("c", 3, 3)]
    assert {row.label: (row.rank.low, row.rank.high) for row in across.rows[:2]} == {"a": (1, 2), "b": (1, 2)}
    assert [(row.label, row.rank) for row in across.rows[3:]] == [("d", None)]
    assert across.rows[0].area.mean == pytest.approx(0.775)
    assert across.rows[0].area.n == 5
    ranking_table = ranking_tables(summarise(records).tracks[0].tables[0])[0]
    assert ranking_table.title == "Across targets (macs=0.5, macs=0.25, macs=0.125)"
    assert [row[:2] for row in ranking_table.rows[2:]] == [("c", "3"), ("d (control)", "control")]


def test_a_method_that_lacks_a_target_or_seeds_is_left_out_with_the_reason(make_record: MakeRecord) -> None:
    records = [
        *curve(make_record, "a", (0.9, 0.8, 0.6)),
        *curve(make_record, "b", (0.9, 0.8, 0.6)),
        *curve(make_record, "short", (0.99, 0.99)),
        *curve(make_record, "few", (0.99, 0.99, 0.99), seeds=2),
        *curve(make_record, "elsewhere", (0.99, 0.99, 0.99), manifest={"device_class": "cpu", "dense_sha256": "y"}),
    ]
    (across,) = summarise(records).tracks[0].tables[0].ranking.across
    assert {row.label for row in across.rows} == {"a", "b"}
    assert {each.label: each.reason for each in across.left_out} == {
        "short": "has no run at macs=0.125",
        "few": "has 2 seeds at all targets: the summary takes 3 or more",
        "elsewhere": "shares three seeds, from the same dense networks, with none of the others",
    }
    (ranking_table,) = [each for each in ranking_tables(summarise(records).tracks[0].tables[0]) if not each.detail]
    assert "short (has no run at macs=0.125)" in ranking_table.notes[1]


def test_a_target_of_one_s_own_takes_nobody_out(make_record: MakeRecord) -> None:
    fields = {"track_fields": {"network": "lenet5", "targets": list(TARGETS)}}
    records = [
        *curve(make_record, "a", (0.9, 0.8, 0.6), **fields),
        *curve(make_record, "b", (0.9, 0.8, 0.6), **fields),
        *[make_record(method="a", target="macs=0.3", seed=seed, **fields) for seed in range(5)],
        *[make_record(method="b", target="macs=0.3", seed=seed, **fields) for seed in range(5)],
    ]
    (across,) = summarise(records).tracks[0].tables[0].ranking.across
    assert across.targets == TARGETS
    assert len(across.rows) == 2


def test_unstructured_areas_are_over_nonzero_parameters(make_record: MakeRecord) -> None:
    """Kept 1/2 and 1/8 of the parameters at the same share of the MACs: half way is a quarter."""
    records = [
        make_record(
            method=method,
            run_id=f"{method}-{compression}-{seed}",
            kind="unstructured",
            target=f"params={1 / compression}",
            seed=seed,
            top1=0.9 - 0.05 * (compression - 2) / 6,
            ratios={"macs": 1.0, "params": 1.0, "compression": compression, "filters_removed": 0.0},
        )
        for method in ("olmp", "magnitude")
        for compression in (2, 8)
        for seed in range(3)
    ]
    (across,) = summarise(records).tracks[0].tables[0].ranking.across
    assert across.measure == "params"
    assert [row.area.mean for row in across.rows] == [pytest.approx(0.875)] * 2


def test_one_target_has_no_summary(make_record: MakeRecord) -> None:
    records = curve(make_record, "a", (0.9,)) + curve(make_record, "b", (0.8,))
    assert summarise(records).tracks[0].tables[0].ranking.across == ()
