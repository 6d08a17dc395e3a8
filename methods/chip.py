"""`chip`: the channels that the other channels can stand in for go (Sui et al. 2021)."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import Config, Method, Trial
from bench.methods._maps import channel_scores


class CHIPConfig(Config):
    """Settings of `chip`."""

    images: int = Field(128, ge=1, description="training images whose maps are looked at; the paper's 640")
    scope: Literal["uniform", "global"] = Field(
        "uniform", description="uniform: the same share of every group; global: one threshold over all groups"
    )


def independence(maps: Tensor) -> Tensor:
    """Channel independence [C], the mean over images of maps [N, C, H, W] (Sui et al., equation 3).

    It is the nuclear norm of an image's maps A [C, H W] less that of the maps without the channel. Both come from the
    eigenvalues of A A' [C, C], where a channel that is zero takes its row and column away, or from those of
    A' A [H W, H W], the same but for zeros, where that is smaller.
    """
    flat = maps.flatten(2).double()
    channels, places = flat.shape[1:]
    by_channel = channels <= places
    products = flat @ flat.mT if by_channel else flat.mT @ flat
    whole = _nuclear(products)
    scores = []
    for channel in range(channels):
        if by_channel:
            others = [index for index in range(channels) if index != channel]
            without = products[:, others][:, :, others]
        else:
            row = flat[:, channel]
            without = products - row[:, :, None] * row[:, None, :]
        scores.append(whole - _nuclear(without))
    return torch.stack(scores, 1).mean(0)


def _nuclear(products: Tensor) -> Tensor:
    """Nuclear norms [N] of matrices A whose products A A' (or A' A) [N, K, K] are given."""
    return torch.linalg.eigvalsh(products).clamp(min=0).sqrt().sum(-1)


class CHIP(Method):
    """Removes the channels of lowest independence in one shot, then fine-tunes.

    Source: Sui, Yin, Xie, Phan, Zonouz, Yuan, "CHIP: CHannel Independence-based Pruning for Compact Neural Networks",
    NeurIPS 2021, section 3 (one channel at a time, algorithm 1).

    Maps are taken after the activation that follows a layer where a module does it. Deviations: the paper chooses each
    layer's share by hand; here every group keeps the same share. Layers that a residual add ties together are ranked
    by the sum. Fewer images (`images=640` switches back).
    """

    name = "chip"
    reference = "Sui et al. 2021, arXiv 2110.13981"
    Config = CHIPConfig

    def prune(self, trial: Trial) -> None:
        """Measures independence on training images, cuts, and leaves the rest of the budget to fine-tuning."""

        def reduce(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: independence(maps) for name, maps in seen.items()}

        scores = channel_scores(trial, reduce, trial.config.images)
        trial.surgery.remove(trial.surgery.fit(scores, scope=trial.config.scope))
