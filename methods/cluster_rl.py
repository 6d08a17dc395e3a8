"""`cluster-rl`: redundancy inside clusters of similar filters, with an agent that chooses the clusters."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from bench import ChannelGroup, Keep, Trial, rl
from bench.methods._amc import SearchConfig, WalkSearch
from bench.methods._clusters import FilterClusters, filter_points, removal_order


class ClusterRLConfig(SearchConfig):
    """Settings of `cluster-rl`."""

    keep_one: bool = Field(False, description="true: of each cluster only the filter nearest to its centre stays")
    grid: int = Field(20, ge=2, description="clusters are multiples of this part of a group's filters")
    order: Literal["clusters", "l1"] = Field(
        "clusters", description="l1: the same walks, but the filters of smallest norm go: what the criterion adds"
    )


class ClusterRL(WalkSearch):
    """k-means in each channel group; the filter nearest to each centre goes; an agent chooses how many clusters.

    Source: Wu, Song, Zeng, CISAI 2022 (SPIE 12566, 1256630), of which the abstract was at hand; the criterion, and the
    loop of clustering and pruning until the target is met, are those of the same group's Entropy 2023, 25(1):9, which
    has a fixed scheme in the agent's place.

    An action a asks for k = round(a n / 2) clusters of a group's n filters, at least 1. From each cluster
    of two or more the filter nearest to the centre goes; of equally near ones, as in every pair, that with the smaller
    l1 norm. So a pass removes as many filters as there are such clusters. Passes are repeated with the same a, on what
    is left, until the target is met; the last pass stops there.

    Choices of ours, since no more is public: agent, state and terminal reward are AMC's (accuracy without fine-tuning);
    walks need no bound on their actions, since passes are repeated until the target is met; a is rounded to 1 / 20, so
    that clusterings are few enough to be kept and the same action always gives the same reward (`grid`). Deviations:
    filters are clustered by all their weights while the search lasts, although removals before them take some of these;
    layers that a residual add ties are clustered together. Settings: `keep_one` for the other reading of the abstract
    (a cluster keeps one filter), `agent=uniform` for a random search,
    `order=l1` for the same walks with AMC's criterion.
    """

    name = "cluster-rl"
    reference = "Wu, Song, Zeng 2022, SPIE 12566 (1256630)"
    Config = ClusterRLConfig

    def prune(self, trial: Trial) -> None:
        """Clusters, lets the agent walk, and removes what the best walk would; the track's fine-tuning follows."""
        trial.surgery.fit()  # a target out of reach is refused before any work
        clusters = Clusters(trial)
        # the agent walks: the clusters of a group an action, accuracy at the end
        best = self.search(trial, clusters.environment)
        # where the budget allowed no walk: half as many clusters as filters in every group
        even = {group.name: 1.0 for group in clusters.groups}
        trial.surgery.remove(clusters.land(even) if best is None else best.keep)


class Clusters:
    """All groups of a network with their clusterings, and what a walk's shares of clusters remove."""

    def __init__(self, trial: Trial[ClusterRLConfig]) -> None:
        config = trial.config
        self._trial, self.groups = trial, trial.surgery.groups
        how = (config.keep_one, config.grid)
        self._filters = {group.name: FilterClusters(*filter_points(group), *how) for group in self.groups}

    def environment(self, reward: Callable[[rl.Walk], float]) -> rl.PruningEnv:
        """Walks whose actions are shares of clusters, and which land on the target by repeated passes."""
        return rl.PruningEnv(
            self._trial, reward, bounded=False, share=self.share, land=lambda actions, shares: self.land(actions)
        )

    def share(self, group: ChannelGroup, action: float) -> float:
        """The share of a group that one pass leaves."""
        filters = self._filters[group.name]
        gone = filters.redundant(range(group.width), filters.clusters(action, group.width))
        return 1 - len(gone) / group.width

    def land(self, actions: Mapping[str, float]) -> Keep:
        """The channels that stay when passes are repeated until the target is met, the last one in part."""
        surgery, ratio = self._trial.surgery, self._trial.target.ratio or 0.0
        filters = [self._filters[group.name] for group in self.groups]
        passes = [each.passes(actions[group.name]) for each, group in zip(filters, self.groups, strict=True)]
        order: list[list[int]] = [[] for _ in passes]
        widths = full = np.array([group.width for group in self.groups])
        while surgery.ratios_at(widths[None])[0] > ratio:
            gone = [next(each, ()) for each in passes]
            counts = np.array([len(removed) for removed in gone])
            if not counts.any():
                break
            for indices, removed in zip(order, gone, strict=True):
                indices += removed
            # all parts of this pass, from none of it to the whole: the one that comes nearest
            parts = widths - np.rint(np.linspace(0, 1, counts.max() + 1)[:, None] * counts).astype(int)
            ratios = surgery.ratios_at(parts)
            widths = parts[np.abs(ratios - ratio).argmin()]
            if ratios[-1] <= ratio:
                break
        names, by_norm = [group.name for group in self.groups], self._trial.config.order == "l1"
        found = [removal_order([] if by_norm else gone, each.norms) for each, gone in zip(filters, order, strict=True)]
        shares = dict(zip(names, (widths / full).tolist(), strict=True))
        return surgery.fit(dict(zip(names, found, strict=True)), shares)
