"""Pairs of filters whose norms took similar ways through training, and which filter of each pair goes: for `hbfp`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import ChannelGroup, Observer

__all__ = ["FilterNorms", "PairPenalty", "Pairing", "links", "nearest_pairs"]


class FilterNorms(Observer):
    """The l1 norm of every filter: [layers of the group, width] by group name."""

    name = "filter-l1"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        """Norms as they are now."""
        return {g.name: torch.stack([w.detach().abs().flatten(1).sum(1) for w in g.weights]).cpu() for g in groups}


@dataclass(frozen=True)
class Pairing:
    """What a round does to one group.

    Attributes:
        pairs: int64 [k, 2], the pairs that are pulled together.
        dropped: the filters that go, the most redundant first.
        ranking: float [width], the order over the whole group: the filter that goes first is lowest.
    """

    pairs: Tensor
    dropped: tuple[int, ...]
    ranking: Tensor

    def kept(self) -> Tensor:
        """The filters that stay."""
        mask = torch.ones(len(self.ranking), dtype=torch.bool)
        mask[list(self.dropped)] = False
        return mask.nonzero().flatten()


def nearest_pairs(ways: Tensor, squared: bool = False) -> Tensor:
    """All pairs [P, 2] of filters, the most similar first, by D_ij = sum over points of |l1_i - l1_j|.

    Args:
        ways: float [points, layers, width], norms as they went.
        squared: D_ij = sum of squares instead.
    """
    points, power = ways.flatten(0, 1).double().T.contiguous(), 2.0 if squared else 1.0
    distance = torch.cdist(points, points, power, compute_mode="donot_use_mm_for_euclid_dist")
    first, second = torch.triu_indices(len(points), len(points), 1)
    order = torch.argsort(distance[first, second], stable=True)
    return torch.stack([first[order], second[order]], 1)


def links(pairs: Tensor, importance: Tensor) -> list[tuple[int, int]]:
    """Places of the pairs that link two trees of a growing forest, each with the filter that goes for it.

    That is the less important one of the two filters that stand for the trees. So a filter in several pairs goes once,
    and one of each linked set stays.
    """
    root, found = torch.arange(len(importance)), []  # root[i]: the filter that stays for i's tree
    for place, (i, j) in enumerate(pairs.tolist()):
        a, b = int(root[i]), int(root[j])
        if a != b:
            out, stays = (a, b) if importance[a] < importance[b] else (b, a)
            root[root == out] = stays
            found.append((place, out))
    return found


@dataclass(frozen=True)
class PairPenalty:
    """The regulariser that pulls paired filters together, from live weights: strength * exp(S).

    S = mean over pairs of |l1_i - l1_j| / fan-in. The paper's S is a plain sum; exp of that overflows for VGG-16.
    """

    groups: Sequence[ChannelGroup]
    pairings: Mapping[str, Pairing]
    strength: float

    def __call__(self, network: nn.Module) -> Tensor:
        """A scalar with gradients to the paired filters; zero without pairs."""
        gaps = []
        for group in self.groups:
            pairs = self.pairings[group.name].pairs.to(group.weight.device)
            for weight in group.weights if len(pairs) else ():
                norms = weight.abs().flatten(1).mean(1)
                gaps.append((norms[pairs[:, 0]] - norms[pairs[:, 1]]).abs())
        return self.strength * torch.cat(gaps).mean().exp() if gaps else next(network.parameters()).new_zeros(())
