"""`hbfp`: history based filter pruning (Basha et al.)."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench import ChannelGroup, Config, History, Method, Trial

from ._clusters import removal_order
from ._pairs import FilterNorms, Pairing, PairPenalty, links, nearest_pairs

Widths = Any  # an integer, or an array of them


class HBFPConfig(Config):
    """Settings of `hbfp`."""

    pairs: float = Field(0.3, gt=0, le=1, description="filters that go a round, one of each pair, as a share (M)")
    share_of: Literal["present", "dense"] = Field(
        "present", description="what M is a share of: a group's filters now, or in the dense network (released ResNets)"
    )
    counted: Literal["filters", "pairs"] = Field(
        "filters", description="pairs: M is a share of pairs; those that share a filter drop fewer, as in the paper"
    )
    optimise: float = Field(0.15, ge=0, lt=1, description="share of the pruning budget for pulling pairs together")
    retrain: float = Field(0.35, ge=0, lt=1, description="share of the pruning budget for retraining between rounds")
    strength: float = Field(1.0, ge=0, description="weight of the regulariser (lambda)")
    history: Literal["whole", "round"] = Field(
        "whole", description="norms that pairs are chosen by: of all training; of the last round's, as in the paper"
    )
    groups: Literal["all", "inner"] = Field("all", description="inner: leave channels of residual adds alone")
    max_drop: float = Field(0.01, gt=0, description="target auto: stop when validation falls by more than this")
    rounds: int = Field(8, ge=1, description="target auto: rounds, at most")


class HBFP(Method):
    """Pairs filters with similar l1-norm histories, pulls them together, drops one of each pair, retrains; in rounds.

    Source: Basha, Farazuddin, Pulabaigari, Dubey, Mukherjee, "Deep Model Compression based on the Training History",
    arXiv 2102.00160 (Neurocomputing 2024); where the text is silent, the authors' released code, which is
    `hbfp-released`. The name is also used for Hybrid Block Floating Point, which is something else.

    Deviations: pairs are passed over whose filters are linked already, until M of the filters are gone
    (`counted=pairs`); the filter with the smaller final norm goes, as importance in the text suggests; the
    regulariser's S is a mean by fan-in (`PairPenalty`); the history is that of all training so far, of the filters that
    are left (`history=round`); the last round stops at the target; layers that a residual add ties lose the same
    channels, where the released ResNet code removes other indices in each (`groups=inner` leaves them alone). Budgets
    are shared out over the rounds, which are one training to the learning rate's schedule, instead of fixed numbers of
    epochs; where they are too short for five steps of retraining each, there are fewer rounds.
    """

    name = "hbfp"
    reference = "Basha et al. 2024, arXiv 2102.00160"
    targets = "any"
    needs = frozenset({"dense-history"})
    observers = (FilterNorms,)
    Config = HBFPConfig
    regularised = True

    def prune(self, trial: Trial[HBFPConfig]) -> None:
        """Rounds of pair, optimise, drop and retrain, until the target is met."""
        config, history, best = trial.config, trial.history, 0.0
        dense = {group.name: group.width for group in trial.surgery.groups}
        rounds = self.rounds(trial)
        parts = [tuple(part if part and trial.steps(part[0]) >= 1 else None for part in pair)
                 for pair in schedule_parts(config, rounds)]  # fmt: skip
        for number, (optimise, retrain) in enumerate(parts, 1):
            # 1. pairs of filters with similar histories (section "filter selection")
            groups = prunable(trial)
            gone = {g.name: gone_in_round(config, g.width, dense[g.name]) for g in groups}
            ways = self.ways(trial, trial.history if config.history == "whole" else history, groups)
            pairings = {name: self.pair(way, gone[name], config) for name, way in ways.items()}
            # 2. optimise: raise the similarity within pairs
            pull = PairPenalty(groups, pairings, config.strength) if self.regularised else None
            if optimise is not None:
                trial.train(share=optimise[0], penalty=pull, schedule=optimise[1])
            # 3. drop one filter of each pair; in the round that would pass the target, as many as it asks for
            keep = {name: each.kept() for name, each in pairings.items()}
            if trial.target.has_size and (number == rounds or passes(trial, keep)):
                trial.surgery.remove(trial.surgery.fit({name: each.ranking for name, each in pairings.items()}))
                return
            trial.surgery.remove(keep)
            # 4. retrain, which also writes on the history; the last round's is the fine-tuning that follows
            if retrain is not None:
                history = trial.train(share=retrain[0], schedule=retrain[1])
            if not trial.target.has_size and number < rounds and trial.affordable(trial.sizes.validation):
                top1 = trial.evaluate().top1
                best = max(best, top1)
                if top1 < best - config.max_drop:
                    return

    def ways(self, trial: Trial[HBFPConfig], history: History, groups: Sequence[ChannelGroup]) -> dict[str, Tensor]:
        """Norms [points, layers, width] by group, as they went; as they are now where nobody looked."""
        seen = history.observed(FilterNorms) or [FilterNorms().observe(trial.network, groups)]
        return {g.name: torch.stack([norms[g.name] for norms in seen]) for g in groups}

    def pair(self, ways: Tensor, count: int, config: HBFPConfig) -> Pairing:
        """Pairs of one group, and the filters that go: `count`, or those of the first `count` pairs.

        Args:
            ways: float [points, layers, width].
            count: M of the filters.
            config: what M counts.
        """
        pairs = nearest_pairs(ways)
        linked = links(pairs, importance=ways[-1].sum(0))
        counted = config.counted == "pairs"
        taken = [each for each in linked if each[0] < count] if counted else linked[:count]
        places = list(range(min(count, len(pairs)))) if counted else [place for place, _ in taken]
        ranking = removal_order([out for _, out in linked], np.arange(ways.shape[2]))
        return Pairing(pairs[places], tuple(out for _, out in taken), ranking)

    def rounds(self, trial: Trial[HBFPConfig]) -> int:
        """Rounds until the target is passed, or none loses anything; as many as leave each retraining five steps."""
        config, target, groups = trial.config, trial.target.ratio, trial.surgery.groups
        loses = np.array([group in prunable(trial) for group in groups])
        widths = dense = np.array([group.width for group in groups])
        for rounds in range(1, 100):
            gone = gone_in_round(config, widths, dense) * loses
            widths = widths - gone
            met = rounds == config.rounds if target is None else trial.surgery.ratios_at(widths[None])[0] <= target
            retrained, optimised = trial.steps(config.retrain / rounds), trial.steps(config.optimise / (rounds + 1))
            short = (config.retrain and retrained < 5) or (config.optimise and optimised < 1)  # with a round more
            if met or short or not gone.any():
                break
        return rounds


def prunable(trial: Trial[HBFPConfig]) -> list[ChannelGroup]:
    """The groups that lose filters."""
    return [group for group in trial.surgery.groups if trial.config.groups == "all" or len(group.layers) == 1]


def passes(trial: Trial[HBFPConfig], keep: dict[str, Tensor]) -> bool:
    """Whether less than the target would be left."""
    widths = [len(keep[group.name]) if group.name in keep else group.width for group in trial.surgery.groups]
    return bool(trial.surgery.ratios_at(np.array([widths]))[0] < trial.target.ratio)


def gone_in_round(config: HBFPConfig, width: Widths, dense: Widths) -> Widths:
    """M of the filters, rounded down; one stays."""
    share = np.multiply(width if config.share_of == "present" else dense, config.pairs)
    return np.minimum(np.floor(share + 1e-9).astype(int), np.subtract(width, 1))


Part = tuple[float, tuple[float, float]]


def schedule_parts(config: HBFPConfig, rounds: int) -> list[tuple[Part | None, Part | None]]:
    """For each round: share of the budget and part of the schedule of its optimising and of its retraining.

    After the last round's removal comes the track's fine-tuning, so that it has no retraining of its own.
    """
    shares = [config.optimise / rounds, config.retrain / max(1, rounds - 1)] * rounds
    shares[-1] = 0.0
    total = sum(shares) or 1.0
    places = pairwise([0.0, *(min(1.0, each / total) for each in accumulate(shares))])
    parts = [(share, place) if share else None for share, place in zip(shares, places, strict=True)]
    return list(zip(parts[::2], parts[1::2], strict=True))
