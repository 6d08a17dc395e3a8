"""Negatively correlated search, a population search without derivatives (Tang, Yang, Yao 2016).

Each individual is a search distribution, a Gaussian round its point. An offspring takes its parent's place when it is
better, or when its distribution lies farther from those of the others, weighed against each other: so the population
spreads over different regions instead of gathering in one. `olmp` searches its thresholds with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Found", "minimise"]

Points = NDArray[np.float64]
Cost = Callable[[Points], float | None]

_SUCCESS = 0.2  # share of offspring that should be accepted: the 1/5 rule
_RATE = 0.99  # by which a step size follows it


@dataclass(frozen=True, eq=False)
class Found:
    """The best point that a search has seen.

    Attributes:
        point: [D].
        cost: there.
        evaluations: points that were tried, the start included.
    """

    point: Points
    cost: float
    evaluations: int


def minimise(
    cost: Cost,
    start: Points,
    upper: Points,
    *,
    evaluations: int,
    generator: torch.Generator,
    sigma: float = 1.0,
    population: int = 10,
    accepting: bool = True,
    relative: bool = False,
) -> Found | None:
    """Minimises `cost` over the box from 0 to `upper`.

    Args:
        cost: of a point [D], not negative; None where no more points can be tried, which ends the search.
        start: [D], where all individuals begin.
        upper: [D].
        evaluations: points to try, at most, the start included.
        generator: draws everything.
        sigma: standard deviation of all offspring at first, in every coordinate.
        population: individuals, two or more.
        relative: what is compared is costs less the best one so far, and each offspring has a lambda of its own.
        accepting: False: no offspring ever takes its parent's place, so that all are drawn round the start.

    Returns:
        The best point of all, the start included; None where not even that could be tried.
    """

    def normal(*shape: int) -> Points:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).numpy()

    value = cost(start)
    if value is None:
        return None
    best, tried = Found(start.copy(), value, 1), 1
    points, sigmas = np.tile(start, (population, 1)), np.full(population, sigma)
    costs, accepted = np.full(population, value), np.zeros(population)
    generations = max(1, (evaluations - 1) // population)
    for generation in range(generations):
        offspring = np.clip(points + sigmas[:, None] * normal(population, len(start)), 0.0, upper)
        values = np.empty(population)
        for i, point in enumerate(offspring):
            value = cost(point) if tried < evaluations else None
            if value is None:
                return Found(best.point, best.cost, tried)
            values[i], tried = value, tried + 1
            if value < best.cost:
                best = Found(point.copy(), value, tried)
        if accepting:
            # equation (3): a parent goes when f(x') / Corr(p') < lambda, both as shares of the pair
            trust = 1 + (0.1 - 0.1 * generation / generations) * normal(population if relative else 1)
            apart = _share(_distance(offspring, points, sigmas), _distance(points, points, sigmas))
            ideal = best.cost if relative else 0.0
            better = _share(values - ideal, costs - ideal) < trust * apart
            points[better], costs[better] = offspring[better], values[better]
            accepted += better
        if (generation + 1) % population == 0:
            sigmas *= np.where(accepted > _SUCCESS * population, 1 / _RATE, _RATE)
            accepted[:] = 0
    return Found(best.point, best.cost, tried)


def _distance(points: Points, others: Points, sigmas: Points) -> Points:
    """[N] the least Bhattacharyya distance of individual i at `points[i]` from another one at `others[j]`."""
    mean = (sigmas[:, None] ** 2 + sigmas[None, :] ** 2) / 2
    gap = ((points[:, None] - others[None, :]) ** 2).sum(2)
    spread = np.log(mean) - (np.log(sigmas[:, None] ** 2) + np.log(sigmas[None, :] ** 2)) / 2
    apart = gap / mean / 8 + points.shape[1] * spread / 2
    np.fill_diagonal(apart, np.inf)
    nearest: Points = apart.min(1)
    return nearest


def _share(mine: Points, other: Points) -> Points:
    """mine / (mine + other), a half where both are 0."""
    total = mine + other
    return np.divide(mine, total, out=np.full_like(total, 0.5), where=total > 0)
