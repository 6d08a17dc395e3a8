"""`hbfp`: history based filter pruning (Basha et al.)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bench import BudgetSpent, ChannelGroup, Config, History, Keep, Method, Observer, Trial


class HBFPConfig(Config):
    """Settings of `hbfp`. The last five switch to behaviours of the authors' released code."""

    pairs: float = Field(0.3, gt=0, le=1, description="pairs chosen a round, as a share of a group's filters (M)")
    optimise: float = Field(0.15, ge=0, lt=1, description="share of the pruning budget for pulling pairs together")
    retrain: float = Field(0.35, ge=0, lt=1, description="share of the pruning budget for retraining between rounds")
    strength: float = Field(1.0, ge=0, description="weight of the regulariser (lambda)")
    groups: Literal["all", "inner"] = Field("all", description="inner: leave channels of residual adds alone")
    max_drop: float = Field(0.01, gt=0, description="target auto: stop when validation falls by more than this")
    regulariser: Literal["live", "off"] = Field("live", description="off: released code (a constant, no gradient)")
    sign: Literal[1, -1] = Field(1, description="-1: exp(-S) as in the released VGG and ResNet scripts")
    distance: Literal["absolute", "squared"] = Field("absolute", description="squared: the released LeNet script")
    drop: Literal["smaller", "larger"] = Field("smaller", description="larger: released code drops the larger norm")
    overlap: Literal["forest", "first"] = Field(
        "forest",
        description="first: released LeNet and ResNet code also drops the first filter of every pair",
    )


class FilterNorms(Observer):
    """The l1 norm of every filter: [layers of the group, width] by group name."""

    name = "filter-l1"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        """Norms as they are now."""
        return {g.name: torch.stack([w.detach().abs().flatten(1).sum(1) for w in g.weights]).cpu() for g in groups}


@dataclass(frozen=True)
class Pairing:
    """Filters of one group in the order in which their most similar partners let them go.

    Attributes:
        pairs: int64 [k, 2], the most similar pairs.
        dropped: the filters that go, most redundant first; with `pairs` for one round's share of the group.
        ranking: float [width], the order over the whole group: the filter that goes first is lowest.
    """

    pairs: Tensor
    dropped: tuple[int, ...]
    ranking: Tensor


def pair_filters(trajectories: Tensor, config: HBFPConfig) -> Pairing:
    """Pairs filters whose norms took similar ways, and says which filter of each pair goes.

    All pairs are taken in order of their distance D_ij = sum over epochs of |l1_i(e) - l1_j(e)|, as a forest: each
    pair that links two trees drops one of their two remaining filters, the less important one, so that a filter that
    stands in several pairs is dropped once, and one filter of each linked set stays.

    Args:
        trajectories: float [epochs, layers, width], norms by epoch.
        config: the share of pairs, the distance, and which filter goes.
    """
    width = trajectories.shape[2]
    ways = trajectories.flatten(0, 1).double()
    gaps = (ways[:, :, None] - ways[:, None, :]).abs()
    distance = (gaps if config.distance == "absolute" else gaps.square()).sum(0)
    first, second = torch.triu_indices(width, width, 1)
    order = torch.argsort(distance[first, second], stable=True)
    pairs = torch.stack([first[order], second[order]], 1)
    chosen = int(width * config.pairs + 1e-9)

    # importance: the final norm; the released code compares norms summed over the epochs
    norms = trajectories[-1].sum(0) if config.drop == "smaller" else -trajectories.sum((0, 1))
    root = list(range(width))  # root[i]: the filter that stays for i's tree

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    gone: list[int] = []
    in_round = 0
    for number, (i, j) in enumerate(pairs.tolist()):
        a, b = find(i), find(j)
        if a != b:
            out, stays = (a, b) if norms[a] < norms[b] else (b, a)
            root[out] = stays
            gone.append(out)
        if number < chosen:
            in_round = len(gone)
    dropped = gone[:in_round]
    if config.overlap == "first":
        dropped += [i for i in dict.fromkeys(pairs[:chosen, 0].tolist()) if i not in dropped]
        dropped = dropped[: width - 1]
    sequence = list(dict.fromkeys([*dropped, *gone]))
    ranking = torch.full((width,), float(width))
    ranking[torch.tensor(sequence, dtype=torch.long)] = torch.arange(len(sequence), dtype=torch.float)
    return Pairing(pairs[:chosen], tuple(dropped), ranking)


@dataclass(frozen=True)
class PairLoss:
    """Cross-entropy plus the regulariser that pulls paired filters together, from live weights.

    R = strength * exp(sign * S), S = mean over pairs of |l1_i - l1_j| / fan-in. The paper's S is a plain sum; exp of
    that overflows for VGG-16, so the mean over pairs by fan-in is ours.
    """

    groups: Sequence[ChannelGroup]
    pairings: Mapping[str, Pairing]
    strength: float
    sign: int

    def __call__(self, network: nn.Module, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of one step: a scalar with gradients to the outputs and to the paired filters."""
        gaps = []
        for group in self.groups:
            pairs = self.pairings[group.name].pairs.to(outputs.device) if group.name in self.pairings else None
            if pairs is None or not len(pairs):
                continue
            for weight in group.weights:
                norms = weight.abs().flatten(1).mean(1)
                gaps.append((norms[pairs[:, 0]] - norms[pairs[:, 1]]).abs())
        loss = functional.cross_entropy(outputs.float(), labels)
        if not gaps:
            return loss
        return loss + self.strength * torch.exp(self.sign * torch.cat(gaps).mean())


class HBFP(Method):
    """Pairs filters with similar l1-norm histories, pulls them together, drops one of each pair, retrains; in rounds.

    Source: Basha, Farazuddin, Pulabaigari, Dubey, Mukherjee, "Deep Model Compression based on the Training History",
    arXiv 2102.00160 (Neurocomputing 2024), and the authors' released code where the text is silent. The name is
    also used for Hybrid Block Floating Point, which is something else.

    Deviations: the regulariser has a gradient (`regulariser=off` for the released code's constant); S is a mean by
    fan-in (`PairLoss`); pairs form a forest (`overlap=first`); the filter with the smaller final norm goes, as
    importance in the text suggests (`drop=larger`); the last round stops at the target; layers that a residual add
    ties lose the same channels, where the released ResNet code removes other indices in each (`groups=inner` leaves
    them alone); budgets are shared out over the rounds instead of fixed numbers of epochs.
    """

    name = "hbfp"
    reference = "Basha et al. 2024, arXiv 2102.00160"
    targets = "any"
    observers = (FilterNorms,)
    needs = frozenset({"dense-history"})
    Config = HBFPConfig

    def prune(self, trial: Trial) -> None:
        """Rounds of pair, optimise, drop and retrain, until the target is met."""
        config: HBFPConfig = trial.config
        history, best = trial.history, 0.0
        # no more rounds than leave each training a batch
        shares = [share for share in (config.optimise, config.retrain) if share]
        batches = trial.ledger.pruning * trial.ledger.budget.dense_epoch_macs / (3 * trial.surgery.macs)
        batches /= trial.batch_size
        seconds = trial.ledger.budget.unit == "device_seconds"
        most = 100 if seconds else max(1, int(min(shares, default=1) * batches))
        rounds = min(self._rounds(trial), most)
        done = 0
        while True:
            done += 1
            # 1. pairs of filters with similar histories (section "filter selection")
            groups = [g for g in trial.surgery.groups if config.groups == "all" or len(g.layers) == 1]
            pairings = self._pair(trial, history, groups)
            keep = {g.name: _kept(g.width, pairings[g.name].dropped) for g in groups}
            last = self._last(trial, keep) or (done == most and trial.target.has_size)
            if last and trial.target.has_size:
                keep = trial.surgery.fit({name: pairing.ranking for name, pairing in pairings.items()})
            # 2. optimise: raise the similarity within pairs
            if config.optimise:
                pull = PairLoss(groups, pairings, config.strength, config.sign)
                trial.train(share=config.optimise / rounds, loss=pull if config.regulariser == "live" else None)
            # 3. drop one filter of each pair
            trial.surgery.remove(keep)
            if last:
                return
            # 4. retrain, which also writes the next round's history
            history = trial.train(share=config.retrain / rounds)
            if not trial.target.has_size:
                try:
                    top1 = trial.evaluate().top1
                except BudgetSpent:
                    return
                best = max(best, top1)
                if top1 < best - config.max_drop:
                    return

    def _pair(self, trial: Trial, history: History, groups: Sequence[ChannelGroup]) -> dict[str, Pairing]:
        """Pairs in every group, from the history of the last training (the present norms, if there was none)."""
        seen = history.observed(FilterNorms) or [FilterNorms().observe(trial.network, groups)]
        return {g.name: pair_filters(torch.stack([norms[g.name] for norms in seen]), trial.config) for g in groups}

    def _rounds(self, trial: Trial) -> int:
        """How many rounds it takes until the target is passed when every round drops its share of pairs."""
        if not trial.target.has_size:
            return 8
        count, left = 0, 1.0
        while count < 100:
            count, left = count + 1, left * (1 - trial.config.pairs)
            keep = {g.name: torch.arange(max(1, round(g.width * left))) for g in trial.surgery.groups}
            if self._last(trial, keep):
                break
        return count

    def _last(self, trial: Trial, keep: Keep) -> bool:
        """Whether this removal reaches the target, or nothing is left to remove."""
        nothing = all(len(keep[g.name]) == g.width for g in trial.surgery.groups if g.name in keep)
        if trial.target.ratio is None:
            return nothing
        return nothing or trial.surgery.ratio(keep) <= trial.target.ratio


def _kept(width: int, dropped: Sequence[int]) -> Tensor:
    """Indices of the filters that stay."""
    mask = torch.ones(width, dtype=torch.bool)
    mask[list(dropped)] = False
    return mask.nonzero().flatten()
