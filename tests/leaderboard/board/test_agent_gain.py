"""What an agent adds: the same method by lot, whatever the sign, and nothing that stands in for it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.leaderboard.board.agent_gain import _AGENTS_OWN
from bench.leaderboard.board.comparable import digest
from bench.leaderboard.board.comparison import AgentGain
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.ranking_columns import ranking_tables
from bench.leaderboard.pages.sentences import leads
from bench.records.record import Record
from bench.rl import DDPGSettings

MakeRecord = Callable[..., Record]
NOISE = (0.002, -0.001, 0.0, 0.001, -0.002)


def runs(make_record: MakeRecord, method: str, config: dict[str, Any], top1: float, noise: Sequence[float] = NOISE):
    name = f"{method}-{digest(config)}"
    return [
        make_record(method=method, run_id=f"{name}-{seed}", config=config, seed=seed, top1=top1 + change)
        for seed, change in enumerate(noise)
    ]


def found(records: list[Record]) -> list[AgentGain]:
    (table,) = summarise(records).tracks[0].tables
    return list(table.ranking.agent_gains)


def test_the_same_method_by_lot_is_the_counterpart(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "cluster-rl", {"agent": "ddpg", "grid": 20}, 0.90),
        *runs(make_record, "cluster-rl", {"agent": "uniform", "grid": 20}, 0.91),
        *runs(make_record, "cluster-rl", {"agent": "uniform", "grid": 5}, 0.95),
        *runs(make_record, "random-search", {"agent": "uniform", "grid": 20}, 0.95),
    ]
    (gain,) = found(records)
    assert gain.label == "cluster-rl (agent=ddpg, grid=20)"
    assert gain.counterpart == "cluster-rl (agent=uniform, grid=20)"
    assert gain.difference == pytest.approx(-0.01)  # a loss is shown like a gain
    assert gain.interval
    assert gain.interval.low < -0.01 < gain.interval.high < 0
    assert gain.p is not None
    assert gain.p < 0.001
    assert (gain.seeds, gain.identical) == ((5, 5), 0)
    (table,) = summarise(records).tracks[0].tables
    (ranking_table,) = [each for each in ranking_tables(table) if each.title == "What an agent adds"]
    assert ranking_table.rows[0][3] == "−1.00"


def test_another_method_by_lot_does_not_stand_in(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "id-rl", {"agent": "online"}, 0.94),
        *runs(make_record, "random-search", {"agent": "uniform"}, 0.90),
    ]
    (gain,) = found(records)
    assert (gain.counterpart, gain.difference, gain.p) == ("", None, None)
    (table,) = summarise(records).tracks[0].tables
    (ranking_table,) = [each for each in ranking_tables(table) if each.title == "What an agent adds"]
    assert ranking_table.rows == ()
    assert "Nobody has run these by lot" in ranking_table.notes[1]
    assert "id-rl" in ranking_table.notes[1]


def test_agent_and_lot_with_the_same_networks(make_record: MakeRecord) -> None:
    records = runs(make_record, "cluster-rl", {"agent": "ddpg"}, 0.9)
    by_lot = runs(make_record, "cluster-rl", {"agent": "uniform"}, 0.9)
    records += [other.model_copy(update={"pruned": one.pruned}) for one, other in zip(records, by_lot, strict=True)]
    track = summarise(records).tracks[0]
    (row,) = track.tables[0].rows
    assert row.label == "cluster-rl (agent=ddpg) = cluster-rl (agent=uniform)"
    (gain,) = track.tables[0].ranking.agent_gains
    assert (gain.difference, gain.identical, gain.seeds) == (0, 5, (5, 5))
    said = " ".join(sentence for lead in leads(track) for sentence in lead.sentences)
    assert "fewer than two methods" in said


def test_few_seeds_give_a_difference_without_an_interval(make_record: MakeRecord) -> None:
    records = [
        *runs(make_record, "id-rl", {"agent": "online"}, 0.90),
        *runs(make_record, "id-rl", {"agent": "uniform"}, 0.88, NOISE[2:3]),
    ]
    (gain,) = found(records)
    assert gain.difference == pytest.approx(0.02)
    assert (gain.interval, gain.p, gain.seeds) == (None, None, (5, 1))


def test_methods_without_an_agent_are_not_asked(make_record: MakeRecord) -> None:
    records = runs(make_record, "l1", {}, 0.9) + runs(make_record, "random-search", {"agent": "uniform"}, 0.9)
    assert found(records) == []


def test_the_settings_that_are_an_agents_own_are_those_of_the_agent() -> None:
    assert {"agent", *DDPGSettings.model_fields} == _AGENTS_OWN


def test_networks_from_before_the_agent_had_learnt_are_counted(make_record: MakeRecord) -> None:
    records = [
        make_record(
            method="cluster-rl",
            run_id=f"cluster-rl-{seed}",
            config={"agent": "ddpg"},
            seed=seed,
            search=None if early is None else {"episodes": 10, "winner_in_warmup": early},
        )
        for seed, early in enumerate((True, True, False, None))
    ]
    (gain,) = found(records)
    assert (gain.searched, gain.from_warm_up) == (3, 2)
