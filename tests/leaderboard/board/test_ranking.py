"""Rank intervals at a target, the pairs behind them, findings, and what is not compared."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bench.leaderboard.board.board import Table
from bench.leaderboard.board.comparison import PairTest
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.columns import columns
from bench.leaderboard.pages.ranking_columns import ranking_tables
from bench.records.record import Record

MakeRecord = Callable[..., Record]
Bits = Callable[[Record, np.ndarray], Record]


def runs(make_record: MakeRecord, method: str, accuracies: Sequence[float], **fields: object) -> list[Record]:
    """One run a seed."""
    return [make_record(method=method, seed=seed, top1=top1, **fields) for seed, top1 in enumerate(accuracies)]


def table_of(records: Sequence[Record]) -> Table:
    (table,) = summarise(records).tracks[0].tables
    return table


def ranks(table: Table, target: str = "macs=0.5") -> dict[str, str]:
    """What the rank column says."""
    (column,) = [each for each in columns(table, ranked=True) if each.title == "rank"]
    return {row.label: column.cell(row) for row in table.at(target)}


NOISE = (0.912, 0.905, 0.908, 0.915, 0.903)


def less(amount: float, noise: Sequence[float] = NOISE) -> list[float]:
    return [value - amount for value in noise]


def only_pair(table: Table) -> PairTest:
    (test,) = table.ranking.targets[0].pair_tests
    return test


def test_methods_that_differ_by_noise_share_their_ranks(make_record: MakeRecord) -> None:
    other = [value + change for value, change in zip(NOISE, (0.004, -0.003, 0.002, -0.004, 0.002), strict=True)]
    table = table_of(runs(make_record, "a", NOISE) + runs(make_record, "b", other))
    assert ranks(table) == {"a": "1 to 2", "b": "1 to 2"}
    assert only_pair(table).p > 0.05
    finding = table.ranking.targets[0].finding
    assert finding.wins == ()
    assert set(finding.best) == {"a", "b"}
    assert 0.002 < finding.margin_best < 0.02
    assert 0.005 < finding.detectable < 0.03


def test_two_points_better_is_better(make_record: MakeRecord) -> None:
    table = table_of(runs(make_record, "a", NOISE) + runs(make_record, "b", less(0.02)))
    assert ranks(table) == {"a": "1", "b": "2"}
    test = only_pair(table)
    assert (test.better, test.other, test.outcome) == ("a", "b", "better on these images")  # there are no bits
    assert test.difference == pytest.approx(0.02)
    assert 0 < test.interval.low < 0.02 < test.interval.high
    # mean errors 9.14 % and 11.14 %
    assert test.ratio == pytest.approx(0.82, abs=0.005)
    assert test.seeds == (5, 5)
    finding = table.ranking.targets[0].finding
    assert finding.wins == (("a", "b", False),)
    assert finding.best == ("a",)


def test_ties_are_not_transitive(make_record: MakeRecord) -> None:
    """b is told apart from neither of its neighbours, which are told apart from each other."""
    records = [
        *runs(make_record, "a", (0.930, 0.931, 0.929, 0.930, 0.9305)),
        *runs(make_record, "b", (0.900, 0.940, 0.935, 0.905, 0.945)),
        *runs(make_record, "c", (0.920, 0.9205, 0.9195, 0.9205, 0.9195)),
    ]
    assert ranks(table_of(records)) == {"a": "1 to 2", "b": "1 to 3", "c": "2 to 3"}


def test_controls_are_lines_of_reference_and_never_first(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "random", NOISE, control=True),
        *runs(make_record, "a", less(0.02)),
        *runs(make_record, "b", less(0.04)),
    ]
    table = table_of(records)
    assert [row.label for row in table.rows] == ["a", "b", "random"]
    assert ranks(table) == {"a": "1", "b": "2", "random": "control"}
    assert table.ranking.targets[0].pairs == 3
    assert table.ranking.targets[0].finding.controls == (("random", (), ("a", "b")),)


def test_three_seeds_are_provisional_and_two_are_listed(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "a", NOISE),
        *runs(make_record, "b", less(0.05, NOISE[:3])),
        *runs(make_record, "c", NOISE[:2]),
        *runs(make_record, "d", less(0.001)),
        *runs(make_record, "e", less(0.002)),
    ]
    table = table_of(records)
    assert ranks(table) == {"a": "1 to 3", "d": "1 to 3", "e": "1 to 3", "b": "4 (provisional)", "c": "listed"}
    (missing,) = table.ranking.targets[0].not_compared
    assert (missing.label, missing.reason) == ("c", "2 seeds: a rank takes 3 or more")


def test_rows_with_three_seeds_do_not_erase_what_five_show(make_record: MakeRecord) -> None:
    """The same p among the rows with five seeds, whoever else stands there."""
    five = runs(make_record, "a", NOISE) + runs(make_record, "b", less(0.012))
    others = [run for i in range(4) for run in runs(make_record, f"x{i}", less(0.001 * i, NOISE[:3]))]
    (found,) = [
        test
        for test in table_of(five + others).ranking.targets[0].pair_tests
        if {test.better, test.other} == {"a", "b"}
    ]
    assert found.p_holm == pytest.approx(found.p)
    assert found.level == 0.04
    levels = {test.level for test in table_of(five + others).ranking.targets[0].pair_tests}
    assert levels == {0.04, 0.01}


def test_more_tries_than_the_rivals_are_listed_and_not_ranked(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "a", NOISE, tries=200),
        *runs(make_record, "b", less(0.02), tries=3),
        *runs(make_record, "c", less(0.04), tries=3),
        *runs(make_record, "random", less(0.1), control=True),
    ]
    table = table_of(records)
    assert ranks(table) == {"a": "listed", "b": "1", "c": "2", "random": "control"}
    (missing,) = table.ranking.targets[0].not_compared
    assert missing.reason == "its settings were chosen among 200, its rivals' among 3: listed, not ranked"
    assert table.at("macs=0.5")[0].badges.tries == 200


def test_a_row_without_three_shared_seeds_stands_apart(make_record: MakeRecord) -> None:
    later = [make_record(method="c", seed=seed, top1=0.99) for seed in range(5, 10)]
    table = table_of(runs(make_record, "a", NOISE) + runs(make_record, "b", less(0.02)) + later)
    assert ranks(table) == {"a": "1", "b": "2", "c": "listed"}
    (missing,) = table.ranking.targets[0].not_compared
    assert missing.label == "c"
    assert "with none of the 2 rows that are compared" in missing.reason


def test_rows_that_share_nothing_have_no_rank(make_record: MakeRecord) -> None:
    later = [make_record(method="b", seed=seed, top1=0.99) for seed in range(5, 10)]
    table = table_of(runs(make_record, "a", NOISE) + later)
    assert set(ranks(table).values()) == {"listed"}
    assert table.ranking.targets[0].pairs == 0
    assert len(table.ranking.targets[0].not_compared) == 2


def test_runs_from_other_dense_networks_are_not_compared(make_record: MakeRecord) -> None:
    def manifest(sha256: str) -> dict[str, str]:
        return {"device_class": "cpu", "dense_sha256": sha256}

    records = [
        *runs(make_record, "a", NOISE, manifest=manifest("x")),
        *runs(make_record, "b", less(0.02), manifest=manifest("x")),
        *runs(make_record, "elsewhere", less(-0.02), manifest=manifest("y")),
    ]
    table = table_of(records)
    assert table.ranking.targets[0].pairs == 1
    assert ranks(table)["elsewhere"] == "listed"
    assert table.at("macs=0.5")[0].top1_test.n == 5  # it is shown, and its own mean is whole


def test_a_row_alone_and_the_dense_network_have_no_rank(make_record: MakeRecord) -> None:
    dense = runs(make_record, "dense", NOISE, target="none", control=True)
    table = table_of(dense + runs(make_record, "a", NOISE) + runs(make_record, "b", NOISE, target="auto"))
    assert ranks(table) == {"a": "listed"}
    assert ranks(table, "none") == {"dense": "control"}
    assert [each.reason for each in table.ranking.targets[0].not_compared] == ["the only row at this target"]
    assert [each.target for each in table.ranking.targets] == ["macs=0.5"]


def test_other_images_might_say_otherwise(make_record: MakeRecord, with_bits: Bits) -> None:
    """Two networks that differ by the same two of 100 images on every seed, and by 60 of 400."""
    few, many = np.arange(100), np.arange(400)
    for image, right, better, outcome in (
        (few, few < 90, (few < 90) | np.isin(few, (95, 96)), "better on these images"),
        (many, many < 300, many < 360, "better"),
    ):
        records = [with_bits(record, better) for record in runs(make_record, "a", [0] * 5)]
        records += [with_bits(record, right) for record in runs(make_record, "b", [0] * 5)]
        test = only_pair(table_of(records))
        assert test.difference == pytest.approx((better.sum() - right.sum()) / len(image))
        assert test.significant
        assert test.outcome == outcome


def test_damaged_bits_leave_the_rest(make_record: MakeRecord, with_bits: Bits) -> None:
    good = [with_bits(record, np.arange(100) < 95) for record in runs(make_record, "a", [0] * 5)]
    for bits in ("", "?", "AAAA"):
        bad = [
            record.model_copy(update={"pruned": record.pruned.model_copy(update={"correct_test": bits})})
            for record in runs(make_record, "b", less(0.3))
            if record.pruned
        ]
        test = only_pair(table_of(good + bad))
        assert test.images is None
        assert test.outcome == "better on these images"


def test_equal_rows_are_equivalent_and_the_track_saturated(make_record: MakeRecord) -> None:
    steady = (0.9001, 0.9, 0.8999, 0.9, 0.9001)
    records = [run for name in ("a", "b", "c") for run in runs(make_record, name, steady, dense_top1=0.9)]
    table = table_of(records + runs(make_record, "random", steady, dense_top1=0.9, control=True))
    finding = table.ranking.targets[0].finding
    assert finding.saturated
    assert {test.outcome for test in table.ranking.targets[0].pair_tests} == {"equivalent"}
    assert {test.margin for test in table.ranking.targets[0].pair_tests} == {0.05}
    worse = table_of(records + runs(make_record, "random", less(0.1, steady), dense_top1=0.9, control=True))
    assert not worse.ranking.targets[0].finding.saturated
    alone = table_of(records)
    assert not alone.ranking.targets[0].finding.saturated  # nobody ran random pruning


def test_a_track_too_small_to_rank_shows_its_floor(make_record: MakeRecord, with_bits: Bits) -> None:
    fields = {"ranked": False}
    right = np.arange(400) < 380
    other = np.roll(right, 10)  # wrong on ten images that the first gets right, and the reverse
    records = [with_bits(record, right) for record in runs(make_record, "a", [0] * 3, track_fields=fields)]
    records += [with_bits(record, other) for record in runs(make_record, "b", [0] * 3, track_fields=fields)]
    table = table_of(records)
    assert table.ranking.targets == ()
    assert all(row.rank is None for row in table.rows)
    (floor,) = table.ranking.floors
    assert (floor.images, floor.seeds, floor.pairs) == (400, 3, 1)
    # 20 of 400 images differ, by +1 or -1: v = 0.05, 1.96 sqrt(0.05 / 400) = 0.021913.
    assert floor.half_width == pytest.approx(0.021913, abs=1e-6)
    (ranking_table,) = ranking_tables(table)
    assert ranking_table.rows == (("macs=0.5", "2.19", "3", "1"),)
    assert "400 images, so that one image is 0.25 points" in ranking_table.notes[0]


def test_the_floor_of_a_single_row_comes_from_its_accuracy(make_record: MakeRecord, with_bits: Bits) -> None:
    (record,) = runs(make_record, "a", [0], track_fields={"ranked": False})
    (floor,) = table_of([with_bits(record, np.arange(400) < 360)]).ranking.floors
    assert (floor.pairs, floor.half_width) == (0, pytest.approx(0.041578, abs=1e-6))


def test_many_rows_are_ranked_by_all_pairs_and_shown_in_part(
    synthetic_records: Callable[..., list[Record]],
) -> None:
    records = synthetic_records(methods=40, images=1000)
    table = table_of(records)
    (target,) = table.ranking.targets
    rows = table.at("macs=0.9")
    assert (len(target.rows), target.pairs, len(target.pair_tests)) == (40, 780, 66)
    assert all(row.rank for row in rows)
    assert max(row.rank.low for row in rows if row.rank) > 1
    shown = [{test.better, test.other} for test in target.pair_tests]
    labels = [row.label for row in rows]
    for number in range(1, 20):
        assert {labels[0], labels[number]} in shown
        assert {labels[number - 1], labels[number]} in shown
    (ranking_table,) = [each for each in ranking_tables(table) if each.detail]
    assert ranking_table.title == "macs=0.9: 780 pairs of rows compared"
    assert ranking_table.notes[0].startswith("66 of 780 pairs are shown")


def test_ten_thousand_records_are_ranked(synthetic_records: Callable[..., list[Record]]) -> None:
    tables = [table for track in summarise(synthetic_records(tracks=100)).tracks for table in track.tables]
    assert sum(len(row.runs) for table in tables for row in table.rows) == 10_000
    assert {table.ranking.targets[0].pairs for table in tables} == {190}
    assert all(row.rank for table in tables for row in table.rows)
    told_apart = [test for table in tables for test in table.ranking.targets[0].pair_tests if test.significant]
    assert told_apart
    assert all(test.images for test in told_apart)


def test_the_same_records_in_another_order_give_the_same_ranking(
    synthetic_records: Callable[..., list[Record]],
) -> None:
    records = synthetic_records(methods=6, targets=2, images=500)
    assert summarise(records) == summarise(reversed(records))
