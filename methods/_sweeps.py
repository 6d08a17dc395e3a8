"""Training with pruning in it, as `id-rl` does it: an agent sweeps over the layers between parts of one training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from bench import BudgetSpent, ChannelGroup, Trial

from ._attention import attention_scores
from ._dqn import Agent, Observations

if TYPE_CHECKING:
    from .id_rl import IDRLConfig

__all__ = [
    "FEATURES",
    "TRAINED",
    "Action",
    "TrainAndPrune",
    "actions_of",
    "filters_left",
    "l1_scores",
    "reward_of",
    "sweep_points",
]

FEATURES = 11  # of the agent's state
TRAINED = 0.8  # of a practice's budget; looks, also the one at its end, are paid from the rest
_DIMENSION = 50.0  # what dimensions are divided by: above those of image sets (Pope et al. 2021: ImageNet 26 to 43)


@dataclass(frozen=True)
class Action:
    """What may be done to a layer: a `fraction` of its filters goes, those that `ranking` has lowest."""

    ranking: Literal["l1", "attention"]
    fraction: float

    def left(self, width: int) -> int:
        """Filters that stay of `width`, rounded half up, one at least: a tenth of three filters is none."""
        return max(1, width - int(self.fraction * width + 0.5))


def actions_of(config: "IDRLConfig") -> tuple[Action, ...]:
    """All actions, by ranking and then by fraction. The first removes nothing, and needs no ranking."""
    rankings: tuple[Literal["l1", "attention"], ...] = ("l1", "attention")
    wanted = [each for each in rankings if config.ranking in (each, "both")]
    fractions = sorted(config.fractions)
    return (Action(wanted[0], 0.0), *(Action(ranking, fraction) for ranking in wanted for fraction in fractions))


def reward_of(config: "IDRLConfig", accuracy: float, reference: float, removed: float) -> float:
    """What a sweep was worth, once training has gone on after it.

    `accuracy`: (acc / ref) (1 + beta removed) where acc >= ref - tau, else acc - (ref - tau). `compression`: removed
    (acc / ref). Two flavours are known of the authors' earlier agent, accuracy-ensured and compression-ensured
    considering accuracy (Khatri and Won 2020); their formulas are not.

    Args:
        config: gives the flavour, beta (`strength`) and tau (`tolerance`).
        accuracy: now.
        reference: what it is compared with.
        removed: share of all filters that is gone.
    """
    relative = accuracy / max(reference, 1e-6)
    if config.reward == "compression":
        return removed * relative
    missing = reference - config.tolerance - accuracy
    return -missing if missing > 0 else relative * (1 + config.strength * removed)


def l1_scores(groups: Sequence[ChannelGroup]) -> dict[str, Tensor]:
    """Each filter's l1 norm, summed over layers that are tied: [width] by group name, on the CPU."""
    return {group.name: group.norms().detach().cpu() for group in groups}


def filters_left(
    dense: Sequence[ChannelGroup], now: Sequence[ChannelGroup], widths: Mapping[str, int] | None = None
) -> tuple[float, float]:
    """The share of filters that is left: the mean over layers, and that of all filters together. They differ.

    Args:
        dense: groups of the dense network.
        now: the same groups as they are now.
        widths: instead of theirs now, by name.
    """
    widths = {**{group.name: group.width for group in now}, **(widths or {})}
    layers = [(widths[group.name], group.width) for group in dense for _ in group.layers]
    mean = sum(left / width for left, width in layers) / len(layers)
    return mean, sum(left for left, _ in layers) / sum(width for _, width in layers)


def sweep_points(trial: Trial, config: "IDRLConfig", part: float, shortest: float) -> list[float]:
    """Shares of the training at which sweeps are made, evenly spaced; the last one is at `last`.

    The first is after the warm-up and after `first` epochs, where filters are noise no more. There are fewer sweeps
    than `decisions` where the training between two of them would be less than a batch.

    Args:
        trial: whose budget pays.
        config: says where the first and last are.
        part: share of the method's part of the budget that the training takes.
        shortest: of the shares of trainings with these points.
    """
    begin = config.warmup
    if trial.ledger.budget.unit == "dense_epochs" and config.first:
        begin = max(begin, config.first / max(part * trial.ledger.pruning, 1e-9))
    if begin and trial.steps(begin * shortest) < 1:
        begin = 1.0
    for count in range(config.decisions, 1, -1):
        gap = (config.last - begin) / (count - 1)
        if gap > 0 and trial.steps(gap * shortest) >= 1:
            return np.linspace(config.last, begin, count)[::-1].tolist()
    return [config.last]


class TrainAndPrune:
    """One training with sweeps in it: the run itself, or a practice.

    Args:
        trial: where.
        agent: decides, and learns from what comes of it.
        dimension: intrinsic dimension of the training images.
        part: share of the method's part of the budget to train for.
        practice: it is one. Else the last part of the training takes all that is left, and nobody looks at its end.
        points: shares of the training at which sweeps are made; None for `sweep_points`.
    """

    def __init__(
        self,
        trial: Trial,
        agent: Agent,
        dimension: float,
        part: float,
        practice: bool,
        points: Sequence[float] | None = None,
    ) -> None:
        self.trial, self.agent, self.dimension = trial, agent, dimension
        self.config: IDRLConfig = trial.config
        self.part, self.practice = part, practice
        self.points = list(points or sweep_points(trial, self.config, part, part))
        self.actions = actions_of(self.config)
        self.dense = trial.surgery.groups
        self.images = self._affordable(trial.sizes.validation)
        self.probed = self._affordable(self.config.probe)
        self.accuracy = self.change = self.progress = 0.0

    def run(self, reference: Sequence[float] = ()) -> None:
        """Trains and sweeps by turns. Ends at the target, where that has a size.

        Args:
            reference: accuracies that sweeps are compared with (`unpruned`).
        """
        config, trial = self.config, self.trial
        self._train(0.0, self.points[0])
        best = self.accuracy if self._look() else 0.0
        for number, (begin, end) in enumerate(pairwise([*self.points, 1.0])):
            final = number == len(self.points) - 1
            self.progress, compared = begin, self.accuracy
            # 1. a sweep: the agent decides layer by layer, and filters go
            observations, actions = self._sweep(number)
            # 2. what it cost: the accuracy at once, before training goes on, or after it
            judged = self._evaluated(recalibrate=True) if config.reference == "before" else None
            self._train(begin, end)
            if (final and not self.practice) or not self._look():
                continue
            self.progress = end
            if config.reference != "before":
                judged, compared = self.accuracy, reference[number] if reference else best
            best = max(best, self.accuracy)
            if judged is None:
                continue
            # 3. the same reward for each layer's decision, and the agent learns
            removed = 1 - filters_left(self.dense, trial.surgery.groups)[1]
            reward = reward_of(config, judged, compared, removed)
            self.agent.remember([*observations, self._observe(0, {})], actions, reward, ended=final)
            if config.agent != "uniform":
                self.agent.learn(config.updates)
            trial.log(reward=reward, epsilon=self.agent.epsilon)

    def unpruned(self) -> list[float]:
        """The same training without sweeps: the accuracy at the end of each part that follows one."""
        seen = []
        for begin, end in pairwise([0.0, *self.points, 1.0]):
            self._train(begin, end)
            self._look()
            seen.append(self.accuracy)
        return seen[1:]

    def _sweep(self, number: int) -> tuple[list[Observations], list[int]]:
        """Walks the layers in order and removes what the agent says; gives what it saw and did, layer by layer."""
        trial, groups = self.trial, self.trial.surgery.groups
        fitted = trial.target.has_size and number == len(self.points) - 1
        observations: list[Observations] = []
        chosen: list[int] = []
        widths: dict[str, int] = {}
        for position, group in enumerate(groups):
            allowed = range(len(self.actions)) if fitted else self._allowed(number, position, widths)
            observations.append(self._observe(position, widths))
            chosen.append(self.agent.act(observations[-1], allowed))
            widths[group.name] = self.actions[chosen[-1]].left(group.width)
        wanted = {group.name: self.actions[action] for group, action in zip(groups, chosen, strict=True)}
        scores = self._scores(groups, wanted, fitted)
        if fitted:
            keep = trial.surgery.fit(scores, {name: 1 - action.fraction for name, action in wanted.items()})
        else:
            keep = {name: scores[name].argsort(descending=True, stable=True)[:width] for name, width in widths.items()}
        if any(len(keep[group.name]) < group.width for group in groups):
            trial.surgery.remove(keep)
        return observations, chosen

    def _allowed(self, number: int, position: int, widths: Mapping[str, int]) -> list[int]:
        """Actions at a layer that leave the target within reach, from either side (as AMC bounds its actions).

        Not below the target, if no later layer loses a filter. Not above what may be left after this sweep, if all
        later layers lose as many as they can; that falls to the target geometrically: not all is left to the last.
        """
        target, groups = self.trial.target.ratio, self.trial.surgery.groups
        if target is None:
            return list(range(len(self.actions)))
        ceiling = target ** ((number + 1) / len(self.points))
        most = max(self.actions, key=lambda action: action.fraction)

        def size(fraction: float, later: Action | None) -> float:
            after = {group.name: later.left(group.width) for group in groups[position + 1 :]} if later else {}
            here = {groups[position].name: Action("l1", fraction).left(groups[position].width)}
            return self._size({**widths, **here, **after})

        fractions = sorted({action.fraction for action in self.actions})
        while len(fractions) > 1 and size(fractions[-1], None) < target:
            fractions.pop()
        while len(fractions) > 1 and size(fractions[0], most) > ceiling:
            fractions.pop(0)
        return [index for index, action in enumerate(self.actions) if action.fraction in fractions]

    def _observe(self, position: int, widths: Mapping[str, int]) -> Observations:
        """The agent's state at a layer, [11], with what this sweep has chosen for the layers before it."""
        groups = self.trial.surgery.groups
        group = groups[position]
        inputs, kernels = zip(*((each.weight.shape[1], _kernel(each)) for each in groups), strict=True)
        state = (
            position / len(groups),
            inputs[position] / max(inputs),
            group.width / max(each.width for each in self.dense),
            kernels[position] / max(kernels),
            group.width / self.dense[position].width,
            filters_left(self.dense, groups, widths)[1],
            self._size(widths),
            self.accuracy,
            self.change,
            self.progress,
            self.dimension / _DIMENSION,
        )
        return np.array(state, dtype=np.float32)

    def _scores(self, groups: Sequence[ChannelGroup], wanted: Mapping[str, Action], fitted: bool) -> dict[str, Tensor]:
        """What each group is ranked by; by norms where the search's share does not pay for a probe any more."""
        scores = l1_scores(groups)
        asked = [group for group in groups if wanted[group.name].ranking == "attention"]
        if any(fitted or wanted[group.name].fraction for group in asked):
            try:
                found = attention_scores(self.trial, groups, self.probed, self.config.power)
            except BudgetSpent:
                return scores
            scores |= {group.name: found[group.name] for group in asked}
        return scores

    def _size(self, widths: Mapping[str, int]) -> float:
        return self.trial.surgery.ratio({name: torch.arange(width) for name, width in widths.items()})

    def _train(self, begin: float, end: float) -> None:
        """The part of the training from `begin` to `end`, in the learning rate's schedule as in the budget."""
        if end > begin:
            last = end == 1 and not self.practice
            self.trial.train(share=1.0 if last else (end - begin) * self.part, schedule=(begin, end))

    def _look(self) -> bool:
        """Takes down the accuracy now, and its change; False where the search's share does not pay for it any more."""
        now = self._evaluated(recalibrate=False)  # BatchNorm's statistics are of the training that has just ended
        if now is not None:
            self.accuracy, self.change = now, now - self.accuracy
        return now is not None

    def _evaluated(self, recalibrate: bool) -> float | None:
        try:
            return self.trial.evaluate(self.images, recalibrate=self.images if recalibrate else False).top1
        except BudgetSpent:
            return None

    def _affordable(self, images: int) -> int:
        """So many images, or as many as half of what looking may cost pays for, at each time of looking."""
        ledger, sweeps = self.trial.ledger, len(self.points)
        looks = 3 * sweeps + 1 if self.config.reference == "before" else sweeps + 1
        price = ledger.price(self.trial.surgery.macs) * 2 * looks
        most = min(ledger.search_left, (1 - self.part) * ledger.left) if self.practice else ledger.search_left
        return max(1, min(images, int(most / price))) if price else images


def _kernel(group: ChannelGroup) -> int:
    """Height of a group's filters; 1 for a linear layer."""
    return group.weight.shape[-2] if group.weight.dim() > 2 else 1
