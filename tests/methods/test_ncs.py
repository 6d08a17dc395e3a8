"""Negatively correlated search: on functions with a known optimum, against random search at equal evaluations."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.methods import _ncs
from bench.methods._ncs import Found, Points, _distance, _share, minimise

OPTIMUM = np.array([6.0, 2.0, 8.0, 4.0])
UPPER = np.full(4, 10.0)


def bowl(point: Points) -> float:
    """Least, 0, at `OPTIMUM`."""
    return float(((point - OPTIMUM) ** 2).sum())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def search(seed: int, *, accepting: bool = True) -> Found:
    found = minimise(bowl, np.zeros(4), UPPER, evaluations=600, generator=seeded(seed), accepting=accepting)
    assert found is not None
    return found


def random_search(seed: int) -> float:
    points = 10 * torch.rand(600, 4, generator=seeded(seed), dtype=torch.float64)
    return min(bowl(point) for point in points.numpy())


def test_it_finds_a_known_optimum_better_than_random_search_at_equal_evaluations() -> None:
    found = [search(seed) for seed in range(10)]
    assert all(590 < each.evaluations <= 600 for each in found)
    assert np.mean([each.cost for each in found]) < np.mean([random_search(seed) for seed in range(10)]) / 2


def test_without_accepting_offspring_it_never_leaves_the_start() -> None:
    # sigma is 1 and the optimum is 11 away: what is drawn round the start stays far from it
    assert min(search(seed, accepting=False).cost for seed in range(3)) > 20 * max(
        search(seed).cost for seed in range(3)
    )


def test_it_stays_in_the_box_and_tries_the_start_first() -> None:
    tried: list[Points] = []

    def cost(point: Points) -> float:
        tried.append(point.copy())
        return float(point.sum())

    start = np.array([0.5, 9.0])
    found = minimise(cost, start, np.array([1.0, 10.0]), evaluations=101, generator=seeded(0), sigma=5.0)
    assert np.array_equal(tried[0], start)
    assert len(tried) == 101
    assert (np.array(tried) >= 0).all() and (np.array(tried) <= [1, 10]).all()
    assert found is not None
    assert found.cost == 0.0


@pytest.mark.parametrize(("affordable", "evaluations"), [(0, None), (1, 1), (37, 37)])
def test_it_ends_with_the_best_so_far_when_nothing_more_can_be_tried(affordable: int, evaluations: int | None) -> None:
    costs: list[float] = []

    def cost(point: Points) -> float | None:
        if len(costs) == affordable:
            return None
        costs.append(bowl(point))
        return costs[-1]

    found = minimise(cost, np.zeros(4), UPPER, evaluations=100, generator=seeded(0))
    assert (found and (found.evaluations, found.cost)) == (evaluations and (evaluations, min(costs)))


def test_the_distance_is_bhattacharyyas_to_the_nearest_other() -> None:
    points = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 9.0]])
    # equal sigmas of 1: a squared gap / 8; individual 0 is nearest to 1 (4 / 8), 2 to 0 (81 / 8)
    assert _distance(points, points, np.ones(3)) == pytest.approx([0.5, 0.5, 81 / 8])
    # sigmas of 1 and 3 in the same place: D / 2 (ln 5 - (ln 1 + ln 9) / 2) = ln(5 / 3)
    same = np.zeros((2, 2))
    assert _distance(same, same, np.array([1.0, 3.0])) == pytest.approx([np.log(5 / 3)] * 2)


def test_a_share_of_nothing_is_a_half() -> None:
    assert _share(np.array([1.0, 0.0]), np.array([3.0, 0.0])).tolist() == [0.25, 0.5]


def test_between_equals_the_one_farther_from_the_others_stays_so_that_the_population_spreads() -> None:
    tried: list[Points] = []

    def flat(point: Points) -> float:
        tried.append(point.copy())
        return 1.0

    minimise(flat, np.full(2, 50.0), np.full(2, 100.0), evaluations=600, generator=seeded(0))
    assert np.linalg.norm(np.array(tried) - 50.0, axis=1).max() > 10  # ten sigmas from where all began


def test_relative_costs_are_compared_less_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[float], list[float]]] = []
    real = _ncs._share

    def share(mine: Any, other: Any) -> Any:
        seen.append((mine.tolist(), other.tolist()))
        return real(mine, other)

    monkeypatch.setattr(_ncs, "_share", share)
    offset = 5.0
    for relative in (False, True):
        seen.clear()
        minimise(
            lambda x: offset + float(x.sum()), np.ones(2), np.full(2, 9.0), evaluations=11, generator=seeded(0),
            population=10, relative=relative,
        )  # fmt: skip
        costs, _ = seen[1]  # after the distances
        assert (min(costs) < 1e-9) == relative
