"""`hrank`: the channels whose feature maps have the lowest rank go (Lin et al. 2020)."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import Config, Method, Trial
from bench.methods._maps import channel_scores


class HRankConfig(Config):
    """Settings of `hrank`."""

    images: int = Field(500, ge=1, description="training images whose maps are ranked; the paper's 500")
    scope: Literal["uniform", "global"] = Field(
        "uniform", description="uniform: the same share of every group; global: one threshold over all groups"
    )


def mean_ranks(maps: Tensor) -> Tensor:
    """The mean over images of the rank [C] of each channel's map, of maps [N, C, H, W] (Lin et al., equation 4)."""
    return torch.linalg.matrix_rank(maps.float()).double().mean(0)


class HRank(Method):
    """Removes the channels whose maps have the lowest mean rank in one shot, then fine-tunes.

    Source: Lin, Ji, Wang, Zhang, Zhang, Tian, Shao, "HRank: Filter Pruning using High-Rank Feature Map", CVPR 2020,
    section 3.2.

    Maps are taken after the activation that follows a layer where a module does it, as in the paper. Deviations: the
    paper chooses each layer's share by hand and fine-tunes layer by layer; here every group keeps the same share and
    the network is fine-tuned once. Layers that a residual add ties together are ranked by the sum.
    """

    name = "hrank"
    reference = "Lin et al. 2020, arXiv 2002.10179"
    Config = HRankConfig

    def prune(self, trial: Trial) -> None:
        """Ranks maps on training images, cuts, and leaves the rest of the budget to fine-tuning."""

        def reduce(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: mean_ranks(maps) for name, maps in seen.items()}

        ranks = channel_scores(trial, reduce, trial.config.images)
        trial.surgery.remove(trial.surgery.fit(ranks, scope=trial.config.scope))
