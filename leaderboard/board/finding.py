"""What is known at one target, as data for a sentence: `bench.leaderboard.pages.sentences` writes it."""

from statistics import median

import numpy as np

from bench.leaderboard.board.comparison import Finding
from bench.leaderboard.board.pair_tests import Compared
from bench.leaderboard.board.pairing import Field
from bench.leaderboard.stats.equivalence import smallest_margin
from bench.leaderboard.stats.errors import points
from bench.leaderboard.stats.pairs import FEWER_LEVEL, FIVE_LEVEL
from bench.leaderboard.stats.power import detectable_difference

__all__ = ["RANDOM", "finding_of"]

RANDOM = ("random", "random-weights", "random-erk")
"""The controls that prune at random."""


def finding_of(field: Field, tests: Compared | None) -> Finding:
    """What the tests of a target say.

    Args:
        field: its rows.
        tests: None where fewer than two rows are compared.
    """
    if tests is None:
        return Finding(field.target, not_compared=len(field.left_out))
    rows = tests.rows
    wins: list[tuple[int, int, int]] = []  # better, other, pair
    for pair, sign in enumerate(tests.better):
        first, second = int(tests.first[pair]), int(tests.second[pair])
        if sign:
            wins.append((first, second, pair) if sign > 0 else (second, first, pair))
    control = [group.row.control for group in rows]
    methods = [i for i in range(len(rows)) if not control[i]]
    beaten = {other for better, other, _ in wins if not control[better]}
    best = [i for i in methods if i not in beaten]
    label = [group.row.label for group in rows]
    inside_best = np.isin(tests.first, best) & np.isin(tests.second, best)
    everything = np.ones(len(tests.middle), dtype=bool)
    random = {i for i, group in enumerate(rows) if group.row.method in RANDOM}
    nobody = not any(other in random and not control[better] for better, other, _ in wins)
    alike = bool(tests.within[-1].all())
    return Finding(
        target=field.target,
        methods=tuple(label[i] for i in methods),
        best=tuple(label[i] for i in best),
        wins=tuple(
            (label[better], label[other], tests.test(pair).outcome == "better")
            for better, other, pair in wins
            if not control[better] and not control[other]
        ),
        controls=tuple(
            (
                label[i],
                tuple(label[better] for better, other, _ in wins if other == i and not control[better]),
                tuple(label[other] for better, other, _ in wins if better == i and not control[other]),
            )
            for i in range(len(rows))
            if control[i]
        ),
        margin_best=smallest_margin(tests.pairs, tests.middle, inside_best) if len(best) > 1 else None,
        margin_all=smallest_margin(tests.pairs, tests.middle, everything),
        detectable=_detectable(tests, control),
        saturated=bool(random) and bool(methods) and nobody and alike,
        not_compared=len(field.left_out),
    )


def _detectable(tests: Compared, control: list[bool]) -> float:
    """Of a typical pair of methods with five seeds; of fewer seeds, or of controls too, where there is none."""
    five, methods = tests.pairs.five, ~(np.array(control)[tests.first] | np.array(control)[tests.second])
    typical = next(kind for kind in (five & methods, methods, five, ~five) if kind.any())
    family = five if five[typical].all() else ~five
    level = FIVE_LEVEL if five[typical].all() else FEWER_LEVEL
    error, degrees = (median(values[typical].tolist()) for values in (tests.pairs.error, tests.pairs.degrees))
    found = detectable_difference(error, min(degrees, 1000.0), level, max(int(family.sum()), 1))
    middle = median(tests.middle[typical].tolist())
    return float(points(np.asarray(middle), np.asarray(found)))
