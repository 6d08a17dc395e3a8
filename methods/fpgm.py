"""`fpgm`: the filters nearest to all others of their layer go (He et al. 2019)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import ChannelGroup, Config, Method, Trial


class FPGMConfig(Config):
    """Settings of `fpgm`."""

    scope: Literal["uniform", "global"] = Field("uniform", description="global: one threshold over all groups")


def distances(group: ChannelGroup) -> Tensor:
    """Each filter's sum of l2 distances to all filters of its layer [width], summed over the group's layers."""
    rows = [weight.detach().flatten(1).double() for weight in group.weights]
    return torch.stack([torch.cdist(row, row).sum(1) for row in rows]).sum(0)


class FPGM(Method):
    """Removes the filters with the smallest sum of distances to the others: what the rest can stand in for.

    Source: He, Liu, Wang, Hu, Yang, "Filter Pruning via Geometric Median", CVPR 2019, section 3.3 (equation 6).
    Deviations: one removal before fine-tuning where the paper zeroes filters after every epoch of a training (the
    method `soft` does that); the same share of every group, as there; tied layers lose the same channels.
    """

    name = "fpgm"
    reference = "He et al. 2019, arXiv 1811.00250"
    Config = FPGMConfig

    def prune(self, trial: Trial[FPGMConfig]) -> None:
        """Ranks by distance and cuts; the rest of the budget goes to fine-tuning."""
        scores = {group.name: distances(group) for group in trial.surgery.groups}
        trial.surgery.remove(trial.surgery.fit(scores, scope=trial.config.scope))
