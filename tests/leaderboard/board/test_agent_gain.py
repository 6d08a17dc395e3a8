"""What an agent adds: which row is its counterpart, and the difference whatever its sign."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.leaderboard.board.comparable import digest
from bench.leaderboard.board.comparison import AgentGain
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.ranking_columns import ranking_tables
from bench.methods.cluster_rl import ClusterRL
from bench.methods.entropy_rl import EntropyRL
from bench.methods.random_search import RandomSearch
from bench.records.record import Record
from bench.trial.method import Config

MakeRecord = Callable[..., Record]
NOISE = (0.002, -0.001, 0.0, 0.001, -0.002)


def settings(config: type[Config], **changes: Any) -> dict[str, Any]:
    return config(**changes).model_dump(mode="json")


def runs(make_record: MakeRecord, method: str, config: dict[str, Any], top1: float, noise: Sequence[float] = NOISE):
    name = f"{method}-{digest(config)}"
    return [
        make_record(method=method, run_id=f"{name}-{seed}", config=config, seed=seed, top1=top1 + change)
        for seed, change in enumerate(noise)
    ]


def found(records: list[Record]) -> list[AgentGain]:
    (table,) = summarise(records).tracks[0].tables
    return list(table.ranking.agent_gains)


def test_the_same_search_by_lot_is_the_counterpart(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "entropy-rl", settings(EntropyRL.Config), 0.90, [2 * each for each in NOISE]),
        *runs(make_record, "random-search", settings(RandomSearch.Config), 0.95),
        *runs(make_record, "random-search", settings(RandomSearch.Config, reward="entropy"), 0.91),
    ]
    (addition,) = found(records)
    assert (addition.label, addition.counterpart) == ("entropy-rl", "random-search (reward=entropy)")
    assert addition.same_search
    assert addition.difference
    assert addition.difference.mean == pytest.approx(-0.01)  # a loss is shown like a gain
    # Differences -0.01 + NOISE: deviation sqrt(10 / 4) / 1000, t = 0.01 / (0.0015811 / sqrt(5)) = 14.142.
    assert addition.p == pytest.approx(0.000145, rel=0.01)
    (table,) = summarise(records).tracks[0].tables
    (ranking_table,) = [each for each in ranking_tables(table) if each.title == "What an agent adds"]
    assert ranking_table.rows[0][:4] == ("macs=0.5", "entropy-rl", "random-search (reward=entropy)", "−1.00 ± 0.20")
    assert ranking_table.rows[0][-1] == "the agent alone"


def test_settings_of_the_agent_do_not_matter_to_a_search_by_lot(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "cluster-rl", settings(ClusterRL.Config, sigma=0.3), 0.90),
        *runs(make_record, "cluster-rl", settings(ClusterRL.Config, agent="uniform"), 0.89),
        *runs(make_record, "cluster-rl", settings(ClusterRL.Config, agent="uniform", grid=5), 0.95),
        *runs(make_record, "random-search", settings(RandomSearch.Config), 0.95),
    ]
    (addition,) = found(records)
    assert addition.same_search
    assert "agent=uniform" in addition.counterpart
    assert "grid=20" in addition.counterpart
    assert addition.difference
    assert addition.difference.mean == pytest.approx(0.01)


def test_random_search_stands_in_where_there_is_no_such_row(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "id-rl", {"agent": "online"}, 0.90),
        *runs(make_record, "random-search", settings(RandomSearch.Config), 0.88),
    ]
    (addition,) = found(records)
    assert not addition.same_search
    assert addition.counterpart == "random-search"
    (table,) = summarise(records).tracks[0].tables
    (ranking_table,) = [each for each in ranking_tables(table) if each.title == "What an agent adds"]
    assert ranking_table.rows[0][-1] == "more than the agent: random-search stands in"


def test_of_several_stand_ins_the_most_alike_is_taken(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "mine", settings(RandomSearch.Config, agent="ddpg") | {"extra": 1}, 0.90),
        *runs(make_record, "random-search", settings(RandomSearch.Config, reward="entropy"), 0.93),
        *runs(make_record, "random-search", settings(RandomSearch.Config), 0.91),
    ]
    (addition,) = found(records)
    assert (addition.counterpart, addition.same_search) == ("random-search (reward=accuracy)", False)


def test_other_targets_and_too_few_seeds(make_record: MakeRecord) -> None:
    rl = runs(make_record, "id-rl", {"agent": "online"}, 0.90)
    elsewhere = [make_record(method="random-search", target="macs=0.1", config=settings(RandomSearch.Config))]
    assert found(rl + elsewhere) == []
    once = [make_record(method="random-search", config=settings(RandomSearch.Config), top1=0.88)]
    (addition,) = found(rl + once)
    assert addition.difference is not None
    assert addition.difference.n == 1
    assert addition.difference.mean == pytest.approx(rl[0].pruned.top1_test - 0.88)
    assert (addition.difference.half_width, addition.p) == (None, None)


def test_methods_without_an_agent_are_not_asked(make_record: MakeRecord) -> None:
    records = runs(make_record, "l1", {}, 0.9) + runs(make_record, "random-search", settings(RandomSearch.Config), 0.9)
    assert found(records) == []
