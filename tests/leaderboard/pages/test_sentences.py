"""The sentences on top of a page: who is better than whom, and what is not known."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.leaderboard.board.comparison import AgentGain, Finding, Ranking, TargetRanking
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.sentences import leads, target_sentences
from bench.records.record import Record

MakeRecord = Callable[..., Record]

BASE = Finding(
    target="macs=0.5",
    methods=("a", "b", "c"),
    best=("a", "b", "c"),
    controls=(("random", (), ()),),
    margin_best=0.0021,
    margin_all=0.003,
    detectable=0.0013,
)


def test_nothing_told_apart() -> None:
    assert target_sentences(BASE) == (
        "At macs=0.5: none of the 3 methods can be told from another; they agree within 0.21 points. None is better "
        "than random pruning. A difference of 0.13 points would have been found (80 % power)."
    )


def test_one_is_better_than_all_others() -> None:
    wins = (("a", "b", True), ("a", "c", True))
    finding = replace(BASE, best=("a",), wins=wins, margin_best=None, controls=(("random", ("a", "b", "c"), ()),))
    assert target_sentences(finding).startswith(
        "At macs=0.5: a is better than b and c. All methods are better than random pruning."
    )


def test_wins_that_may_not_hold_for_other_images() -> None:
    wins = (("a", "c", False), ("b", "c", False))
    finding = replace(BASE, best=("a", "b"), wins=wins, controls=(("scratch", ("a",), ("c",)),))
    assert target_sentences(finding) == (
        "At macs=0.5: a and b are better than c, on these test images; other images might say otherwise. a and b "
        "cannot be told apart and agree within 0.21 points. a is better than scratch; c is worse than scratch; random "
        "pruning was not run beside them. A difference of 0.13 points would have been found (80 % power)."
    )


def test_saturated_is_said_first() -> None:
    assert target_sentences(replace(BASE, saturated=True)).startswith("Saturated. At macs=0.5: none of the 3 methods")


def test_a_target_without_a_comparison() -> None:
    assert target_sentences(Finding("macs=0.1")) == "At macs=0.1 nothing can be compared yet."


@pytest.fixture
def track(make_record: MakeRecord):
    return summarise([make_record(seed=seed) for seed in range(3)]).tracks[0]


def lead_of(track, groups: int | None, findings, gains=()) -> str:
    targets = tuple(TargetRanking(each.target, each.methods, 3, 0.0, (), each, ()) for each in findings)
    table = replace(track.tables[0], groups=groups, ranking=Ranking(targets, (), tuple(gains)))
    (lead,) = leads(replace(track, tables=(table,)))
    return " ".join(lead.sentences)


def test_targets_that_say_the_same_are_said_once(track) -> None:
    other = replace(BASE, target="macs=0.25", margin_best=0.0031, detectable=0.0017)
    assert lead_of(track, 20, [BASE, other]) == (
        "At macs=0.5 and macs=0.25: none of the 3 methods can be told from another; they agree within 0.31 points. "
        "None is better than random pruning. A difference of 0.13 to 0.17 points would have been found (80 % power)."
    )


def test_searches_without_room(track) -> None:
    gain = AgentGain("macs=0.5", "a", "a by lot", 0.0, None, None, (5, 5), 4)
    assert lead_of(track, 2, [BASE], [gain]).endswith(
        "Searches have 2 channel groups to choose from: this track cannot tell a search from a lot. In 4 of 5 pairs of "
        "runs agent and lot ended in the same network, bit by bit."
    )
    early = replace(gain, identical=0, searched=5, from_warm_up=3)
    assert lead_of(track, 20, [BASE], [early]).endswith(
        "3 of 5 guided searches kept a network from before their agent had learnt."
    )
    assert "cannot tell a search" not in lead_of(track, 20, [BASE], [replace(gain, identical=0)])
    assert "cannot tell a search" not in lead_of(track, 2, [BASE])


def test_few_seeds_and_small_tracks(make_record: MakeRecord, track) -> None:
    (lead,) = leads(track)
    assert lead.sentences == ("Nothing can be compared yet: there are fewer than two methods.",)
    two = summarise([make_record(method=name) for name in ("a", "b")]).tracks[0]
    assert leads(two)[0].sentences[0].startswith("Nothing can be told yet: 2 methods, 1 seed at most")
    small = summarise([make_record(track_fields={"ranked": False})]).tracks[0]
    assert leads(small)[0].sentences == ("Too small to rank methods.",)
