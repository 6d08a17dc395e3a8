"""`taylor`: the filters whose removal changes the loss least, to first order (Molchanov et al. 2019)."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import ChannelGroup, Config, Method, Trial


class TaylorConfig(Config):
    """Settings of `taylor`."""

    images: int = Field(1280, ge=1, description="training images whose gradients are taken, a batch at a time")
    rounds: int = Field(1, ge=1, description="removals, with training between them; the paper removes little by little")
    scope: Literal["uniform", "global"] = Field(
        "uniform", description="uniform: the same share of every group; global: one threshold over all, the paper's"
    )


def importance(group: ChannelGroup, gradients: Mapping[str, Tensor]) -> Tensor:
    """(sum of gradient x weight over a channel's filters)^2 [width] (Molchanov et al., equation 8)."""
    products = [
        (weight.detach() * gradient).flatten(1).sum(1)
        for weight, gradient in zip(group.weights, group.rows_of(gradients), strict=True)
    ]
    return torch.stack(products).sum(0).square()


def importances(groups: Iterable[ChannelGroup], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The importance of every group's channels, of one batch."""
    return {group.name: importance(group, gradients) for group in groups}


def first_to_go(scores: Tensor, keep: Tensor, share: float) -> Tensor:
    """The channels to keep when only a share of those outside `keep` goes, the lowest scores first."""
    gone = torch.ones(len(scores), dtype=torch.bool)
    gone[keep] = False
    order = scores.argsort(stable=True)
    going = order[gone[order]][: round(share * int(gone.sum()))]
    left = torch.ones(len(scores), dtype=torch.bool)
    left[going] = False
    return left.nonzero().flatten()


class Taylor(Method):
    """Removes the filters of smallest first-order importance, averaged over batches, then fine-tunes.

    Source: Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance Estimation for Neural Network Pruning", CVPR 2019,
    section 3.1: the squared sum over a filter's weights, layers that a residual add ties together taken as one filter.

    Deviations: one removal where the paper makes hundreds while it trains (`rounds`), and the same share of every
    group instead of one threshold over all (`scope=global`).
    """

    name = "taylor"
    reference = "Molchanov et al. 2019, arXiv 1906.10771"
    Config = TaylorConfig

    def prune(self, trial: Trial[TaylorConfig]) -> None:
        """Takes importances and removes, in rounds; the rest of the budget goes to fine-tuning."""
        rounds = trial.config.rounds
        for number in range(rounds):
            images = trial.config.images
            while images > 1 and not trial.affordable(3 * images, rounds - number, recalibrate=False):
                images //= 2
            scores = trial.gradients(images, reduce=partial(importances, trial.surgery.groups))
            keep = trial.surgery.fit(scores, scope=trial.config.scope)
            share = 1 / (rounds - number)
            trial.surgery.remove({name: first_to_go(scores[name], kept, share) for name, kept in keep.items()})
            if number + 1 < rounds:
                trial.train(share=0.5 / rounds, schedule=(number / (2 * rounds), (number + 1) / (2 * rounds)))
