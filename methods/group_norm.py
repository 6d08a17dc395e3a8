"""`group-norm`: the channels whose whole group of weights has the smallest norm go (Fang et al. 2023)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import ChannelGroup, Config, Method, Trial


class GroupNormConfig(Config):
    """Settings of `group-norm`."""

    p: float = Field(2.0, gt=0, description="of the norm; the paper's is 2")
    scope: Literal["uniform", "global"] = Field(
        "uniform", description="uniform: the same share of every group; global: one threshold over all groups"
    )
    normalise: bool = Field(True, description="divide a group's scores by their mean; matters with scope=global alone")
    biases: bool = Field(False, description="count biases (BatchNorm's shifts too) among a channel's weights")


def group_norms(group: ChannelGroup, p: float = 2.0, biases: bool = False) -> Tensor:
    """The p-th power of the norm [width] over all weights that each channel owns, in every layer it runs through.

    Those are its filters, its normalisation's scales and the slices of the layers that read it: the sum over k of
    |w_k|^p (Fang et al., equation 4, where layers' norms are added).
    """
    parameters = dict(group.network.named_parameters())
    total = torch.zeros(group.width)
    for owned in group.slices:
        if owned.tensor in parameters and (biases or not owned.tensor.endswith("bias")):
            powers = parameters[owned.tensor].detach().cpu().abs().pow(p)
            along = powers.movedim(owned.dim, 0).flatten(1).sum(1) if powers.dim() > 1 else powers
            total += along[owned.index].sum(1)
    return total


class GroupNorm(Method):
    """Removes the channels of smallest group norm in one shot, then fine-tunes.

    Source: Fang, Ma, Song, Mi, Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023, section 3.3.

    Deviations: the paper trains the dense network with a group-sparsity penalty first; like its own comparison without
    sparse learning, this ranks the network as it is. Every group keeps the same share (`scope=uniform`) instead of one
    threshold over all groups (`scope=global`, scores divided by their group's mean).
    """

    name = "group-norm"
    reference = "Fang et al. 2023, arXiv 2301.12900"
    Config = GroupNormConfig

    def prune(self, trial: Trial) -> None:
        """Ranks by group norm, cuts, and leaves the rest of the budget to fine-tuning."""
        config: GroupNormConfig = trial.config
        scores = {group.name: group_norms(group, config.p, config.biases) for group in trial.surgery.groups}
        if config.normalise:
            scores = {name: score / score.mean().clamp(min=1e-30) for name, score in scores.items()}
        trial.surgery.remove(trial.surgery.fit(scores, scope=config.scope))
