"""Spatial entropy of activation maps (Musat and Andonie 2023), and a network's entropy as a reward.

A map is quantised to G levels between its own minimum and maximum. For a displacement, P[g, g'] is the share of pairs
of pixels that far apart with levels g and g', and H = -sum P ln P: the second-order entropy of Journel and Deutsch
1993. A map's entropy is the mean over the displacements (1, 0) and (0, 1); the opposite ones have the same.
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bench import Config, Trial, UsageError, rl
from bench.methods._maps import map_layer, rows_of

__all__ = ["EntropySettings", "NetworkEntropy", "live_maps", "map_layer", "most_entropy", "spatial_entropy"]

_FLAT = 1e-5
"""Maps that vary by less than this share of their largest value are constant: the rest is rounding."""


class EntropySettings(Config):
    """Settings of the entropy reward."""

    levels: int = Field(16, ge=2, le=256, description="levels that a map is quantised to, between its own extremes (G)")
    smallest: int = Field(4, ge=2, description="layers whose maps are smaller than this on a side are left out")
    maps: Literal["activation", "convolution"] = Field(
        "activation", description="activation: after normalisation and ReLU where modules do it; convolution: before"
    )
    weigh: Literal["macs", "plain"] = Field(
        "macs", description="layers in the network's mean: by the MACs of their surviving channels; plain: all alike"
    )
    guard_dead: bool = Field(True, description="false: a channel that carries no signal counts with entropy 0")


def spatial_entropy(maps: Tensor, levels: int) -> Tensor:
    """Entropy in nats [...] of maps [..., H, W], both sides 2 or more; 0 for a constant map."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    scaled = (maps - low) / torch.where(high > low, high - low, torch.ones_like(high))
    level = (scaled * levels).long().clamp_(max=levels - 1)
    down = _pair_entropy(level[..., :-1, :], level[..., 1:, :], levels)
    across = _pair_entropy(level[..., :, :-1], level[..., :, 1:], levels)
    return ((down + across) / 2).view(maps.shape[:-2])


def _pair_entropy(first: Tensor, second: Tensor, levels: int) -> Tensor:
    """Entropy [M] over the pairs of levels of M maps: one histogram for all of them."""
    count = first.shape[-2] * first.shape[-1]
    pairs = (first * levels + second).reshape(-1, count)
    offset = torch.arange(len(pairs), device=pairs.device)[:, None] * levels**2
    counts = torch.bincount((pairs + offset).flatten(), minlength=len(pairs) * levels**2).view(-1, levels**2)
    return math.log(count) - torch.special.xlogy(counts, counts.float()).sum(1) / count


def most_entropy(height: int, width: int, levels: int) -> float:
    """The most entropy that a map of this size can have."""
    pairs = ((height - 1) * width, height * (width - 1))
    return sum(math.log(min(levels**2, count)) for count in pairs) / 2


def live_maps(maps: Tensor) -> Tensor:
    """Which maps [N, C] of [N, C, H, W] carry a signal: neither constant, nor the same for all N images.

    The second kind comes from a dead layer before: zero padding gives its followers an edge that looks like structure.
    """
    size = maps.abs().amax((-2, -1))
    varied = maps.amax((-2, -1)) - maps.amin((-2, -1)) > _FLAT * size
    moved = (maps - maps[:1]).abs().amax((0, 2, 3)) > _FLAT * size.amax(0)
    return varied & (moved if len(maps) > 1 else True)


class NetworkEntropy:
    """The mean entropy of a network's surviving channels, as a share of the dense network's.

    Layer entropy is the mean over the surviving channels on the same training images each time; the network's is the
    mean over the layers that make the channel groups, weighed by the MACs of their surviving channels (`weigh`). Maps
    without a signal (`live_maps`) are left out of a channel's mean, and a channel that has no others counts with the
    most entropy that a map can have (`guard_dead`); why: `entropy-rl`.

    Args:
        trial: whose network is probed; its config has `EntropySettings`.
        images: how many training images.
        recalibration: images of BatchNorm's fresh statistics.
    """

    def __init__(self, trial: Trial, images: int, recalibration: int) -> None:
        self._trial, self._images, self._recalibration = trial, images, recalibration
        self._config, self._dense = trial.config, 0.0
        active = self._config.maps == "activation"
        self._layers = [
            (map_layer(trial.network, layer) if active else layer, group, rows_of(group, layer))
            for group in trial.surgery.groups
            for layer in group.layers
        ]

    def reward(self, walk: rl.Walk | None) -> float:
        """-H / H of the dense network: -1 for as much. None asks for the dense network, which comes first.

        Raises:
            BudgetSpent: it costs more than the search's share has left.
            UsageError: no layer has maps that are large enough.
        """
        entropy = self._measured(walk)
        if walk is None:
            self._dense = entropy
        return -entropy / self._dense if self._dense > 0 else 0.0

    def _measured(self, walk: rl.Walk | None) -> float:
        """Mean over layers of the mean over their surviving channels, in nats."""
        config, channels, weights = self._config, dict[str, Tensor](), dict[str, float]()
        for module, group, rows in self._layers:
            kept = rows if walk is None else rows[walk.keep[group.name].cpu()]
            macs = len(kept) * max(group.macs_per_channel, 1) / len(group.layers)
            channels[module], weights[module] = kept.flatten(), macs if config.weigh == "macs" else 1.0

        def reduce(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
            values: dict[str, Tensor] = {}
            for name, maps in seen.items():
                if maps.dim() == 4 and min(maps.shape[-2:]) >= config.smallest:
                    maps = maps.index_select(1, channels[name].to(maps.device)).float()
                    live = live_maps(maps)
                    entropy = spatial_entropy(maps, config.levels) * (live if config.guard_dead else 1)
                    most = torch.full_like(entropy, most_entropy(maps.shape[-2], maps.shape[-1], config.levels))
                    values[name] = torch.stack([entropy, live, most]).mean(1)
            return values

        found = self._trial.probe(reduce, images=self._images, at=tuple(channels), recalibrate=self._recalibration)
        if not found:
            raise UsageError(
                f"no layer has maps of {config.smallest}x{config.smallest} or more, so there is no entropy to reward. "
                "Use reward=accuracy, or a smaller value of smallest."
            )
        entropies = [self._layer_entropy(values) for values in found.values()]
        return float(np.average(entropies, weights=[weights[name] for name in found]))

    def _layer_entropy(self, values: Tensor) -> float:
        """The mean over a layer's channels, from their entropy, share of live maps and most entropy [3, channels]."""
        entropy, live, most = values.double()
        if self._config.guard_dead:
            entropy = torch.where(live > 0, entropy / live.clamp(min=1e-12), most)
        return float(entropy.mean())
