"""The pictures of a ranking: bars from the first to the last rank, and a matrix that says the same both ways round."""

from collections.abc import Callable, Sequence

from bench.leaderboard.board.board import Table
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.rank_plots import OUTCOME_COLOURS, matrix_rows, pair_matrix, rank_bars
from bench.records.record import Record

MakeRecord = Callable[..., Record]
NOISE = (0.912, 0.905, 0.908, 0.915, 0.903)
CODES = tuple(OUTCOME_COLOURS)


def table_of(make_record: MakeRecord, **methods: tuple[float, int]) -> Table:
    """By method, how much worse than the noise, and how many seeds."""
    records = [
        make_record(method=method, seed=seed, top1=NOISE[seed] - worse, control=method == "random")
        for method, (worse, seeds) in methods.items()
        for seed in range(seeds)
    ]
    return summarise(records).tracks[0].tables[0]


def codes(matrix: Sequence[Sequence[int | None]]) -> list[list[str]]:
    return [["" if code is None else CODES[code] for code in row] for row in matrix]


def test_bars_begin_and_end_at_the_ranks(make_record: MakeRecord) -> None:
    table = table_of(make_record, a=(0, 5), b=(0.001, 5), c=(0.03, 5), random=(0.1, 5))
    figure = rank_bars(table.at("macs=0.5"))
    assert figure is not None
    (bars,) = figure["data"]
    assert (bars["y"], bars["text"]) == (["a", "b", "c"], ["1 to 2", "1 to 2", "3"])
    assert [round(base, 2) for base in bars["base"]] == [0.6, 0.6, 2.6]
    assert [round(base + x, 2) for base, x in zip(bars["base"], bars["x"], strict=True)] == [2.4, 2.4, 3.4]
    assert len(set(bars["marker"]["color"])) == 1
    few = rank_bars(table_of(make_record, a=(0, 5), b=(0.001, 3)).at("macs=0.5"))
    assert few is not None
    assert len(set(few["data"][0]["marker"]["color"])) == 2  # three seeds are pale
    assert rank_bars(table_of(make_record, a=(0, 5)).at("macs=0.5")) is None


def test_the_matrix_says_the_same_both_ways_round(make_record: MakeRecord) -> None:
    table = table_of(make_record, a=(0, 5), b=(0.03, 5), random=(0.03, 5))
    (target,) = table.ranking.targets
    assert matrix_rows(target) == 3
    figure = pair_matrix(target)
    assert figure is not None
    heat, *keys = figure["data"]
    assert heat["x"] == heat["y"] == ["a", "b", "random"]
    won, lost = "better on these images", "worse on these images"  # there are no bits to draw again
    assert codes(heat["z"]) == [["", won, won], [lost, "", "equivalent"], [lost, "equivalent", ""]]
    assert {key["name"] for key in keys} == {won, lost, "equivalent"}
    assert heat["text"][0][1].startswith("a against b: better, on these images<br>+3.00 points")
    assert heat["text"][1][0].startswith("b against a: worse, on these images<br>−3.00 points")


def test_a_large_table_has_no_matrix(synthetic_records: Callable[..., list[Record]]) -> None:
    (target,) = summarise(synthetic_records(methods=30, images=100)).tracks[0].tables[0].ranking.targets
    assert (matrix_rows(target), pair_matrix(target)) == (0, None)
