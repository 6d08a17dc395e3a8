"""What an agent adds to its search: the same search with actions by lot beside it, whatever the sign."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.leaderboard.board.comparable import digest
from bench.leaderboard.board.comparison import AgentGain
from bench.leaderboard.board.run_group import RunGroup
from bench.leaderboard.stats.estimate import Estimate
from bench.leaderboard.stats.statistics import paired_t
from bench.rl import DDPGSettings

__all__ = ["agent_gains"]

BY_LOT = "uniform"
STAND_IN = "random-search"


def agent_gains(groups: Sequence[RunGroup], resolution: float) -> tuple[AgentGain, ...]:
    """Each row with an agent beside its counterpart without one, at every target with a size.

    The counterpart is a row at the same target whose settings differ in `agent` alone (and in those of the agent,
    which a search by lot does not read); where there is none, the plain `random-search` row stands in.

    Args:
        groups: the rows of a table.
        resolution: see `paired_t`.
    """
    by_target: dict[str, list[RunGroup]] = defaultdict(list)
    for each in groups:
        if each.sized:
            by_target[each.row.target].append(each)
    found = []
    for target, rows in by_target.items():
        without = [row for row in rows if _config(row).get("agent") == BY_LOT]
        for row in rows:
            if _config(row).get("agent", BY_LOT) == BY_LOT:
                continue
            same = [each for each in without if _search(each) == _search(row)]
            stand_ins = [each for each in without if each.row.method == STAND_IN]
            if counterpart := _closest(row, same or stand_ins):
                found.append(_addition(target, row, counterpart, bool(same), resolution))
    return tuple(found)


def _config(group: RunGroup) -> Mapping[str, Any]:
    return group.records[0].config


def _search(group: RunGroup) -> str:
    """Everything about a search but its agent."""
    ignored = {"agent", *DDPGSettings.model_fields}
    return digest({key: value for key, value in _config(group).items() if key not in ignored})


def _closest(row: RunGroup, candidates: Sequence[RunGroup]) -> RunGroup | None:
    """The one with the most shared seeds; of several the one with the most equal settings, of the same method."""

    def alike(each: RunGroup) -> tuple[int, int, bool]:
        settings = sum(_config(each).get(key) == value for key, value in _config(row).items())
        return len(each.top1_test.keys() & row.top1_test.keys()), settings, each.row.method == row.row.method

    return max(candidates, key=alike, default=None)


def _addition(target: str, row: RunGroup, counterpart: RunGroup, same: bool, resolution: float) -> AgentGain:
    starts = sorted(row.top1_test.keys() & counterpart.top1_test.keys())
    difference, p = None, None
    gains = [row.top1_test[start] - counterpart.top1_test[start] for start in starts]
    if len(gains) == 1:
        difference = Estimate(gains[0], None, 1)
    elif gains:
        test = paired_t(np.array(gains)[:, None], resolution)
        difference, p = Estimate(float(test.mean[0]), float(test.half_width[0]), len(starts)), float(test.p[0])
    return AgentGain(target, row.row.label, counterpart.row.label, same, difference, p)
