"""What an agent adds to its search: the same method, with actions by lot, beside it, whatever the sign.

Only the same method with `agent=uniform` and the same other settings will do: another method that searches by lot
trains on a schedule of its own, and the difference would be that schedule's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.leaderboard.board.comparable import digest
from bench.leaderboard.board.comparison import AgentGain, Interval
from bench.leaderboard.board.pair_tests import Compared
from bench.leaderboard.board.run_group import RunGroup

__all__ = ["BY_LOT", "agent_gains"]

BY_LOT = "uniform"

# Settings of the agents alone (`bench.rl.DDPGSettings`): two searches that differ in nothing else are the same search.
_AGENTS_OWN = {
    "actor_rate", "agent", "baseline", "batch", "credit", "critic_rate", "decay", "hidden", "replay", "sigma", "tau",
    "updates", "warmup",
}  # fmt: skip


def agent_gains(groups: Sequence[RunGroup], compared: Mapping[str, Compared]) -> tuple[AgentGain, ...]:
    """Each row with an agent beside its counterpart by lot, at every target with a size.

    Args:
        groups: the rows of a table; rows with identical networks are in the first's `twins`.
        compared: the tests by target.
    """
    rows = [(group, member) for group in groups for member in (group, *group.twins)]
    by_lot = [each for each in rows if _config(each[1]).get("agent") == BY_LOT]
    found = []
    for shown, member in rows:
        if _config(member).get("agent", BY_LOT) == BY_LOT:
            continue
        same = [each for each in by_lot if _search(each[1]) == _search(member)]
        counterpart = max(same, key=lambda each: len(_shared(each[1], member)), default=None)
        gain = _gain(shown, member, counterpart, compared.get(member.row.target))
        said = [
            record.search.winner_in_warmup
            for record in member.records
            if record.search and record.search.winner_in_warmup is not None
        ]
        found.append(replace(gain, searched=len(said), from_warm_up=sum(said)))
    return tuple(found)


def _config(group: RunGroup) -> Mapping[str, Any]:
    return group.records[0].config


def _search(group: RunGroup) -> tuple[str, str, str]:
    """Everything about a search but its agent."""
    settings = {key: value for key, value in _config(group).items() if key not in _AGENTS_OWN}
    return group.row.method, group.row.target, digest(settings)


def _shared(one: RunGroup, other: RunGroup) -> set[tuple[int, str]]:
    return one.error_rates.keys() & other.error_rates.keys()


def _gain(
    shown: RunGroup, member: RunGroup, counterpart: tuple[RunGroup, RunGroup] | None, tests: Compared | None
) -> AgentGain:
    target, label = member.row.target, member.row.label
    seeds = len(member.error_rates)
    if counterpart is None:
        return AgentGain(target, label, "", None, None, None, (seeds, 0), 0)
    shown_by_lot, by_lot = counterpart
    identical = sum(member.networks[start] == by_lot.networks[start] for start in _shared(member, by_lot))
    difference = member.row.top1_test.mean - by_lot.row.top1_test.mean
    interval, p = None, None
    if shown is shown_by_lot:
        difference, interval, p = 0.0, Interval(0.0, 0.0), 1.0
    elif tests is not None:
        wanted = {shown.row.label, shown_by_lot.row.label}
        labels = [group.row.label for group in tests.rows]
        for pair, (first, second) in enumerate(zip(tests.first, tests.second, strict=True)):
            if {labels[first], labels[second]} == wanted:
                test = tests.test(pair)
                low, high = test.interval.low, test.interval.high
                interval = Interval(low, high) if test.better == shown.row.label else Interval(-high, -low)
                p = test.p
    return AgentGain(
        target, label, by_lot.row.label, difference, interval, p, (seeds, len(by_lot.error_rates)), identical
    )
