"""Which channels a network's attention maps come from: a ranking by activations.

Activation-based attention is from Zagoruyko, Komodakis, "Paying More Attention to Attention", ICLR 2017: a layer's map
is the sum over channels of |A|^p, place by place. Here the sum is over places, channel by channel.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench import ChannelGroup, Trial

__all__ = ["attention_scores"]


def attention_scores(trial: Trial, groups: Sequence[ChannelGroup], images: int, power: float) -> dict[str, Tensor]:
    """Each channel's part in its layer's attention, [width] by group name, on the CPU.

    It is the mean over images of the sum over places of A^p, divided by the layer's norm of these, so that layers that
    are tied count alike in their sum. A is what a channel passes on: its output after BatchNorm, if any, and ReLU.

    Args:
        trial: whose network is probed; charged to the search's share.
        groups: as they are now.
        images: training images, always the same ones.
        power: p.

    Raises:
        BudgetSpent: the probe would cost more than `trial.ledger.search_left`.
    """
    places = {group.name: _outputs(group) for group in groups}

    def reduce(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        energies = {name: output.float().relu().pow(power) for name, output in seen.items()}
        return {name: each.reshape(*each.shape[:2], -1).sum(2).mean(0) for name, each in energies.items()}

    found = trial.probe(reduce, images, at=[name for each in places.values() for name in each])
    scores = {}
    for group in groups:
        rows = [found[name][index].sum(1) for name, index in places[group.name].items()]
        scores[group.name] = torch.stack([row / row.norm().clamp(min=1e-12) for row in rows]).sum(0)
    return scores


def _outputs(group: ChannelGroup) -> dict[str, Tensor]:
    """The modules whose outputs are a group's channels, BatchNorm where there is one: entries [width, n] by name."""
    statistics = {s.tensor.rpartition(".")[0]: s.index for s in group.slices if s.tensor.endswith(".running_mean")}
    weights = {s.tensor.rpartition(".")[0]: s.index for s in group.slices if s.tensor.endswith(".weight") and not s.dim}
    return statistics or {layer: weights[layer] for layer in group.layers}
