"""The widths that bring a network to a size, and the channels that stay at those widths."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import NotPrunable, SurgeryError, unknown_name
from bench.surgery.cost import Measure
from bench.surgery.groups import ChannelGroup, Groups

__all__ = ["FLOOR", "Scope", "fit", "l1_norms"]

Scope = Literal["uniform", "global"]

FLOOR = 0.1
"""Share of every group's channels that a global ranking leaves it. Scores of different layers are hardly comparable:
without a floor one threshold through all of them cuts whole layers down to a channel, and the network to chance."""

_STEPS = (0, -1, 1, -2, 2)
_MOST_COMBINATIONS = 5000
_BISECTIONS = 60


def fit(
    groups: Groups,
    amount: float,
    measure: Measure = "macs",
    ranking: Mapping[str, Tensor] | None = None,
    ratios: Mapping[str, float] | None = None,
    scope: Scope = "uniform",
    floor: float = FLOOR,
) -> dict[str, Tensor]:
    """The channels to keep so that the network comes nearest to a size, from either side.

    `uniform` keeps the same share of every group, times the group's ratio; `global` draws one threshold through
    all scores. Bisection gives the widths, then one or two channels up and down a group are tried: all
    combinations where they are few, else the best single change as long as one helps. No group is ever empty.

    Args:
        groups: the groups as they are now; shares are of the current widths.
        amount: the size to reach, absolute: MACs or parameters of the whole network.
        measure: what `amount` counts.
        ranking: group name -> scores [width]; within a group the highest stay, of equal ones the first. A
            group that is not named is kept whole. None ranks all groups by `l1_norms`.
        ratios: group name -> relative share to keep, above 0, only for `uniform`; 1 where not named.
        scope: `uniform` or `global`.
        floor: the share of each group's present channels that stays in a `global` ranking, 0 to 1, at least one
            channel; 0 for one channel. It has no part in `uniform`, which keeps the same share everywhere.

    Returns:
        Kept channels (sorted long) of every ranked group. A network that is small enough is kept whole.

    Raises:
        SurgeryError: scores or ratios do not fit the groups.
        NotPrunable: one channel a group, or the floor, is still above `amount`.
    """
    if not 0 <= floor <= 1:
        raise SurgeryError(f"floor is {floor}. Give the share of each group that stays, from 0 to 1.")
    scores = _checked_scores(groups, l1_norms(groups) if ranking is None else ranking)
    shares = _checked_ratios(groups, ratios, scope)
    full = np.array([group.width for group in groups])
    ranked = np.array([group.name in scores for group in groups])
    shortest = np.ceil(floor * full - 1e-9).clip(min=1).astype(int) if scope == "global" else 1
    least = np.where(ranked, shortest, full)

    def amounts(widths: NDArray) -> NDArray:
        return groups.cost.amounts(measure, widths)

    if amounts(full[None])[0] <= amount:
        widths = full
    elif amounts(least[None])[0] > amount:
        floored = scope == "global" and floor > 0
        shortest_words = f"{floor:.0%} of the channels" if floored else "one channel"
        raise NotPrunable(
            f"{measure} cannot come down to {amount:.0f}: with {shortest_words} in each of {int(ranked.sum())} groups "
            f"they are {amounts(least[None])[0]}, now they are {amounts(full[None])[0]}. Choose a larger target, "
            f"{'a lower floor, ' if floored else ''}or make more layers prunable."
        )
    else:
        if scope == "global":
            widths_at = _global_widths(groups, scores, least, full)
        else:
            widths_at = _uniform_widths(shares, least, full)
        start = _bisect(widths_at, amounts, amount)
        widths = _nearest(start, least, full, amounts, amount)
    return {
        group.name: scores[group.name].sort(descending=True, stable=True).indices[:width].sort().values
        for group, width in zip(groups, widths.tolist(), strict=True)
        if group.name in scores
    }


def l1_norms(groups: Iterable[ChannelGroup]) -> dict[str, Tensor]:
    """Each channel's l1 norm [width] of its filters, summed over the group's producers (Li et al. 2017)."""
    return {
        group.name: torch.stack([w.detach().abs().flatten(1).sum(1) for w in group.weights]).sum(0) for group in groups
    }


def _checked_scores(groups: Groups, ranking: Mapping[str, Tensor]) -> dict[str, Tensor]:
    _refuse_unknown(groups, ranking)
    scores = {}
    for group in groups:
        if group.name not in ranking:
            continue
        score = torch.as_tensor(ranking[group.name]).detach().cpu().double()
        if score.shape != (group.width,):
            raise SurgeryError(
                f"scores of channel group {group.name!r} have shape {list(score.shape)}. Give [{group.width}]."
            )
        if score.isnan().any():
            raise SurgeryError(
                f"scores of channel group {group.name!r} have {int(score.isnan().sum())} NaN. The network or the "
                f"criterion diverged: rank by finite numbers."
            )
        scores[group.name] = score
    return scores


def _checked_ratios(groups: Groups, ratios: Mapping[str, float] | None, scope: Scope) -> NDArray:
    if scope not in ("uniform", "global"):
        raise SurgeryError(str(unknown_name("scope", scope, ("uniform", "global"))))
    if ratios is None:
        return np.ones(len(groups))
    if scope == "global":
        raise SurgeryError("ratios set each group's share, and scope 'global' does so too. Use scope 'uniform'.")
    _refuse_unknown(groups, ratios)
    for name, ratio in ratios.items():
        if not 0 < ratio < float("inf"):
            raise SurgeryError(f"ratio of channel group {name!r} is {ratio}. Give a finite number above 0.")
    return np.array([float(ratios.get(group.name, 1.0)) for group in groups])


def _refuse_unknown(groups: Groups, named: Mapping[str, object]) -> None:
    for name in named:
        if name not in groups.widths:
            raise SurgeryError(str(unknown_name("channel group", name, groups.widths)))


_WidthsAt = Callable[[float], NDArray]
"""Widths at a level from 0 (least) to 1 (full), never falling as it rises."""


def _uniform_widths(shares: NDArray, least: NDArray, full: NDArray) -> _WidthsAt:
    top = 1 / shares.min()
    return lambda level: np.clip(np.floor(full * level * top * shares + 0.5), least, full).astype(int)


def _global_widths(groups: Groups, scores: Mapping[str, Tensor], least: NDArray, full: NDArray) -> _WidthsAt:
    ranked = [(column, group) for column, group in enumerate(groups) if group.name in scores]
    values = torch.cat([scores[group.name] for _, group in ranked])
    owners = np.concatenate([np.full(group.width, column) for column, group in ranked])
    order = owners[values.sort(descending=True, stable=True).indices.numpy()]
    return lambda level: np.clip(np.bincount(order[: round(level * len(order))], minlength=len(full)), least, full)


def _bisect(widths_at: _WidthsAt, amounts: Callable[[NDArray], NDArray], amount: float) -> NDArray:
    below, above = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (below + above) / 2
        if amounts(widths_at(middle)[None])[0] <= amount:
            below = middle
        else:
            above = middle
    ends = np.stack([widths_at(below), widths_at(above)])
    return ends[np.abs(amounts(ends) - amount).argmin()]


def _nearest(
    start: NDArray, least: NDArray, full: NDArray, amounts: Callable[[NDArray], NDArray], amount: float
) -> NDArray:
    """The nearest widths within two channels a group of `start`; of equally near ones the least changed."""
    steps = np.array(_STEPS)
    if len(steps) ** len(start) <= _MOST_COMBINATIONS:
        moves = np.array(sorted(product(_STEPS, repeat=len(start)), key=_total_change))
        return _best(np.clip(start + moves, least, full), amounts, amount)
    widths = start
    single = np.concatenate([step * np.eye(len(start), dtype=int) for step in _STEPS[1:]])
    moves = np.concatenate([np.zeros((1, len(start)), dtype=int), single])
    low, high = np.maximum(start + steps.min(), least), np.minimum(start + steps.max(), full)
    while True:
        better = _best(np.clip(widths + moves, low, high), amounts, amount)
        if (better == widths).all():
            return widths
        widths = better


def _best(candidates: NDArray, amounts: Callable[[NDArray], NDArray], amount: float) -> NDArray:
    return candidates[np.abs(amounts(candidates) - amount).argmin()]


def _total_change(moves: Sequence[int]) -> int:
    return sum(abs(move) for move in moves)
