"""`taylor`: the filters whose removal changes the loss least, to first order (Molchanov et al. 2019)."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bench import ChannelGroup, Config, Method, Trial

At = Literal["filters", "batchnorm"]


class TaylorConfig(Config):
    """Settings of `taylor`."""

    at: At = Field(
        "filters",
        description="filters: gradient x weight over a channel's filters; batchnorm: over its scales and shifts, which "
        "is a gate behind normalisation",
    )

    images: int = Field(1280, ge=1, description="training images whose gradients are taken, a batch at a time")
    rounds: int = Field(1, ge=1, description="removals, with training between them; the paper removes little by little")
    scope: Literal["uniform", "global"] = Field(
        "uniform", description="uniform: the same share of every group; global: one threshold over all, the paper's"
    )


def importance(group: ChannelGroup, gradients: Mapping[str, Tensor], at: At = "filters") -> Tensor:
    """(sum of gradient x weight over a channel's filters)^2 [width] (Molchanov et al., equation 8).

    With `at="batchnorm"` the sum is over the scales and shifts of the BatchNorms that see the channel: there it is the
    gradient of a gate behind them. A group without one is taken at its filters.
    """
    products = _at_norms(group, gradients) if at == "batchnorm" else []
    if not products:
        products = [
            (weight.detach() * gradient).flatten(1).sum(1)
            for weight, gradient in zip(group.weights, group.rows_of(gradients), strict=True)
        ]
    return torch.stack(products).sum(0).square()


def _at_norms(group: ChannelGroup, gradients: Mapping[str, Tensor]) -> list[Tensor]:
    """Gradient x parameter [width] of each scale and shift of BatchNorm that sees the group's channels."""
    products = []
    for owned in group.slices:
        layer = owned.tensor.rpartition(".")[0]
        if owned.tensor in gradients and isinstance(group.network.get_submodule(layer), _BatchNorm):
            slopes = gradients[owned.tensor]
            product = group.network.get_parameter(owned.tensor).detach() * slopes
            products.append(product[owned.index.to(slopes.device)].sum(1))
    return products


def importances(groups: Iterable[ChannelGroup], at: At, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The importance of every group's channels, of one batch."""
    return {group.name: importance(group, gradients, at) for group in groups}


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

    Deviations: one removal where the paper makes hundreds while it trains (`rounds`), the same share of every group
    instead of one threshold over all (`scope=global`), and sums over the filters, its "FO on weights", where its best
    results with BatchNorm are those of gates behind it (`at=batchnorm`). BatchNorm is in evaluation mode: by the
    batch's statistics the loss does not depend on a filter's length, and these sums would be zero.
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
            scores = trial.gradients(images, reduce=partial(importances, trial.surgery.groups, trial.config.at))
            keep = trial.surgery.fit(scores, scope=trial.config.scope)
            share = 1 / (rounds - number)
            trial.surgery.remove({name: first_to_go(scores[name], kept, share) for name, kept in keep.items()})
            if number + 1 < rounds:
                trial.train(share=0.5 / rounds, schedule=(number / (2 * rounds), (number + 1) / (2 * rounds)))
