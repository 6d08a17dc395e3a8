"""Ranks at a target, the pairs behind them, and what is not compared."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bench.leaderboard.board.board import Table
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


def test_methods_that_differ_by_noise_share_a_rank(make_record: MakeRecord) -> None:
    other = [value + change for value, change in zip(NOISE, (0.004, -0.003, 0.002, -0.004, 0.002), strict=True)]
    table = table_of(runs(make_record, "a", NOISE) + runs(make_record, "b", other))
    assert ranks(table) == {"a": "1=", "b": "1="}
    (comparison,) = table.ranking.targets[0].comparisons
    assert comparison.verdict == "not told apart"
    assert comparison.p > 0.05


def test_two_points_better_on_every_seed_is_better(make_record: MakeRecord) -> None:
    worse = runs(make_record, "b", [value - 0.02 for value in NOISE])
    table = table_of(runs(make_record, "a", NOISE) + worse)
    assert ranks(table) == {"a": "1", "b": "2"}
    (comparison,) = table.ranking.targets[0].comparisons
    assert (comparison.better, comparison.other, comparison.verdict) == ("a", "b", "better")
    assert comparison.difference.mean == pytest.approx(0.02)
    assert comparison.seeds == (0, 1, 2, 3, 4)


def test_ties_are_not_transitive(make_record: MakeRecord) -> None:
    """b is told apart from neither of its neighbours, which are told apart from each other."""
    records = [
        *runs(make_record, "a", (0.930, 0.931, 0.929, 0.930, 0.9305)),
        *runs(make_record, "b", (0.900, 0.940, 0.935, 0.905, 0.945)),
        *runs(make_record, "c", (0.920, 0.9205, 0.9195, 0.9205, 0.9195)),
    ]
    assert ranks(table_of(records)) == {"a": "1=", "b": "1=", "c": "2"}


def test_holm_takes_all_pairs_of_the_target(make_record: MakeRecord) -> None:
    """The same difference, p about 0.02, is told apart among two methods and not among four."""
    other = [value - change for value, change in zip(NOISE, (0.004, 0.009, 0.005, 0.001, 0.007), strict=True)]
    two = runs(make_record, "a", NOISE) + runs(make_record, "b", other)
    (alone,) = table_of(two).ranking.targets[0].comparisons
    assert 0.01 < alone.p < 0.05
    assert alone.p_holm == pytest.approx(alone.p)
    crowd = [
        run
        for i in (1, 2)
        for run in runs(make_record, f"x{i}", [v + 0.001 * i * (-1) ** s for s, v in enumerate(NOISE)])
    ]
    table = table_of(two + crowd)
    assert table.ranking.targets[0].pairs == 6
    (found,) = [each for each in table.ranking.targets[0].comparisons if {each.better, each.other} == {"a", "b"}]
    assert found.p == pytest.approx(alone.p)
    assert found.p_holm == pytest.approx(6 * alone.p)
    assert set(ranks(table).values()) == {"1="}


def test_three_seeds_are_provisional_and_two_are_listed(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "a", NOISE),
        *runs(make_record, "b", [value - 0.02 for value in NOISE[:3]]),
        *runs(make_record, "c", NOISE[:2]),
    ]
    table = table_of(records)
    assert ranks(table) == {"a": "1", "b": "2 (provisional)", "c": "listed"}
    assert table.ranking.targets[0].pairs == 1
    (missing,) = table.ranking.targets[0].not_compared
    assert (missing.label, missing.reason) == ("c", "2 seeds: a rank takes 3 or more")


def test_only_shared_seeds_are_compared(make_record: MakeRecord) -> None:
    """b is as good as a on the seeds that both have; its easy seeds 5 to 9 do not count against a."""
    later = [make_record(method="b", seed=seed, top1=0.99) for seed in range(5, 10)]
    table = table_of(runs(make_record, "a", NOISE) + runs(make_record, "b", NOISE) + later)
    (comparison,) = table.ranking.targets[0].comparisons
    assert comparison.difference.mean == 0
    assert comparison.seeds == (0, 1, 2, 3, 4)
    assert ranks(table) == {"a": "1=", "b": "1="}


def test_a_row_without_three_shared_seeds_stands_apart(make_record: MakeRecord) -> None:
    later = [make_record(method="c", seed=seed, top1=0.99) for seed in range(5, 10)]
    records = runs(make_record, "a", NOISE) + runs(make_record, "b", [value - 0.02 for value in NOISE]) + later
    table = table_of(records)
    assert ranks(table) == {"a": "1", "b": "2", "c": "–"}
    (missing,) = table.ranking.targets[0].not_compared
    assert missing.label == "c"
    assert "with none of the 2 rows that are ranked" in missing.reason


def test_a_rank_that_does_not_rest_on_all_others_is_provisional(make_record: MakeRecord) -> None:
    """b shares seeds with both, a and c share two."""
    records = [
        *runs(make_record, "a", NOISE),
        *[make_record(method="b", seed=seed, top1=0.88 + NOISE[seed % 5] - 0.9) for seed in range(8)],
        *[make_record(method="c", seed=seed, top1=0.80 + NOISE[seed % 5] - 0.9) for seed in range(3, 8)],
    ]
    table = table_of(records)
    assert ranks(table)["a"].endswith("(provisional)")
    assert ranks(table)["c"].endswith("(provisional)")
    assert "provisional" not in ranks(table)["b"]
    reasons = {each.label: each.reason for each in table.ranking.targets[0].not_compared}
    assert set(reasons) == {"a", "c"}
    assert "with 1 of the 2 others only" in reasons["a"]


def test_rows_that_share_nothing_have_no_rank(make_record: MakeRecord) -> None:
    later = [make_record(method="b", seed=seed, top1=0.99) for seed in range(5, 10)]
    table = table_of(runs(make_record, "a", NOISE) + later)
    assert set(ranks(table).values()) == {"–"}
    assert table.ranking.targets[0].pairs == 0
    assert {each.reason for each in table.ranking.targets[0].not_compared} == {
        "shares three seeds, from the same dense networks, with no other row"
    }


def test_runs_from_other_dense_networks_are_no_pairs(make_record: MakeRecord) -> None:
    def manifest(sha256: str) -> dict[str, str]:
        return {"device_class": "cpu", "dense_sha256": sha256}

    records = [
        *runs(make_record, "a", NOISE, manifest=manifest("x")),
        *runs(make_record, "b", [value - 0.02 for value in NOISE], manifest=manifest("x")),
        *runs(make_record, "elsewhere", [value + 0.02 for value in NOISE], manifest=manifest("y")),
    ]
    table = table_of(records)
    assert table.ranking.targets[0].pairs == 1
    assert ranks(table)["elsewhere"] == "–"
    assert table.at("macs=0.5")[0].top1_test.n == 5  # it is shown, and its own mean is whole


def test_a_row_alone_and_the_dense_network_have_no_rank(make_record: MakeRecord) -> None:
    dense = runs(make_record, "dense", NOISE, target="none", control=True)
    table = table_of(dense + runs(make_record, "a", NOISE) + runs(make_record, "b", NOISE, target="auto"))
    assert ranks(table) == {"a": "–"}
    assert ranks(table, "none") == {"dense": "–"}
    assert [each.reason for each in table.ranking.targets[0].not_compared] == ["the only row at this target"]
    assert [each.target for each in table.ranking.targets] == ["macs=0.5"]


def test_controls_and_variants_are_ranked_like_others(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "random", NOISE, control=True),
        *runs(make_record, "a", [value - 0.02 for value in NOISE], config={"rounds": 1}),
        *[
            make_record(method="a", run_id=f"two-{seed}", seed=seed, top1=value - 0.04, config={"rounds": 2})
            for seed, value in enumerate(NOISE)
        ],
    ]
    assert ranks(table_of(records)) == {"random": "1", "a (rounds=1)": "2", "a (rounds=2)": "3"}


def test_test_images_that_might_say_otherwise(make_record: MakeRecord, with_bits: Bits) -> None:
    """Two networks that differ by the same two of 100 images on every seed."""
    right = np.arange(100) < 90
    better = right | np.isin(np.arange(100), (95, 96))
    records = [with_bits(record, better) for record in runs(make_record, "a", [0] * 5)]
    records += [with_bits(record, right) for record in runs(make_record, "b", [0] * 5)]
    (comparison,) = table_of(records).ranking.targets[0].comparisons
    assert comparison.difference.mean == pytest.approx(0.02)
    assert comparison.significant
    assert comparison.images
    # The number of the two images among 100 redrawn is nearly Poisson with mean 2: 0 has a chance of 13 %.
    assert (comparison.images.low, comparison.images.high) == (0.0, pytest.approx(0.05, abs=0.011))
    assert comparison.verdict == "better on these seeds, but other test images might say otherwise"


def test_networks_that_differ_while_seeds_vary_too_much(make_record: MakeRecord, with_bits: Bits) -> None:
    """One is better by 1 to 25 points of 1,000 images: beyond the test images' noise, not beyond the seeds'."""
    image = np.arange(1000)
    records = [with_bits(record, image < 900) for record in runs(make_record, "a", [0] * 5)]
    for record, lost in zip(runs(make_record, "b", [0] * 5), (10, 20, 250, 10, 200), strict=True):
        records.append(with_bits(record, image < 900 - lost))
    (comparison,) = table_of(records).ranking.targets[0].comparisons
    assert not comparison.significant
    assert comparison.verdict == "better for these networks, but seeds vary too much to tell"


def test_the_order_of_a_pair_is_that_of_its_shared_seeds(make_record: MakeRecord, with_bits: Bits) -> None:
    """a has the higher mean by a seed of its own; on the five that both have, b is better."""
    image = np.arange(1000)
    records = [with_bits(record, image < 900) for record in runs(make_record, "b", [0] * 5)]
    records += [with_bits(record, image < 890) for record in runs(make_record, "a", [0] * 5)]
    records.append(with_bits(make_record(method="a", seed=5), image < 999))
    table = table_of(records)
    assert [row.method for row in table.rows] == ["a", "b"]
    (comparison,) = table.ranking.targets[0].comparisons
    assert (comparison.better, comparison.other) == ("b", "a")
    assert comparison.difference.mean == pytest.approx(0.01)
    assert comparison.images
    assert 0 < comparison.images.low < 0.01 < comparison.images.high
    assert ranks(table) == {"a": "2", "b": "1"}


def test_damaged_bits_leave_the_rest(make_record: MakeRecord, with_bits: Bits) -> None:
    good = [with_bits(record, np.arange(100) < 90) for record in runs(make_record, "a", [0] * 5)]
    for bits in ("", "?", "AAAA"):
        bad = [
            record.model_copy(update={"pruned": record.pruned.model_copy(update={"correct_test": bits})})
            for record in runs(make_record, "b", NOISE)
            if record.pruned
        ]
        (comparison,) = table_of(good + bad).ranking.targets[0].comparisons
        assert comparison.images is None
        assert comparison.difference.n == 5


def test_a_track_too_small_to_rank_shows_its_floor(make_record: MakeRecord, with_bits: Bits) -> None:
    fields = {"ranked": False}
    right = np.arange(400) < 380
    other = np.roll(right, 10)  # wrong on ten images that the first gets right, and the reverse
    records = [with_bits(record, right) for record in runs(make_record, "a", [0] * 3, track_fields=fields)]
    records += [with_bits(record, other) for record in runs(make_record, "b", [0] * 3, track_fields=fields)]
    table = table_of(records)
    assert table.ranking.targets == ()
    assert all(row.place is None for row in table.rows)
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
    assert (target.rows, target.pairs, len(target.comparisons)) == (40, 780, 45)
    assert all(row.place for row in rows)
    assert max(row.place.rank for row in rows if row.place) > 1
    shown = {(each.better, each.other) for each in target.comparisons}
    labels = [row.label for row in rows]
    for number in range(1, 20):
        assert (labels[0], labels[number]) in shown
        assert (labels[number - 1], labels[number]) in shown
    (ranking_table,) = [each for each in ranking_tables(table) if each.detail]
    assert ranking_table.title == "macs=0.9: 780 pairs of rows compared"
    assert ranking_table.notes[0].startswith("45 of 780 pairs are shown")


def test_ten_thousand_records_are_ranked(synthetic_records: Callable[..., list[Record]]) -> None:
    tables = [table for track in summarise(synthetic_records(tracks=100)).tracks for table in track.tables]
    assert sum(len(row.runs) for table in tables for row in table.rows) == 10_000
    assert {len(table.ranking.targets[0].comparisons) for table in tables} == {37}
    assert all(row.place for table in tables for row in table.rows)
    assert all(comparison.images for table in tables for comparison in table.ranking.targets[0].comparisons)


def test_the_same_records_in_another_order_give_the_same_ranking(
    synthetic_records: Callable[..., list[Record]],
) -> None:
    records = synthetic_records(methods=6, targets=2, images=500)
    assert summarise(records) == summarise(reversed(records))
