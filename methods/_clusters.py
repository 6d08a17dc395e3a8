"""Redundant filters by clusters: which go in one pass over a group, and in which order over several.

Filters are points in the space of their weights. k-means gathers similar ones into sets; what is redundant in a set is
the filter nearest to its centre, which the others can stand in for (Wu, Song, Zeng 2022, and the same group's
"Cluster-Based Structural Redundancy Identification for Neural Network Compression", Entropy 2023, section 3).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import ChannelGroup

__all__ = ["FilterClusters", "filter_points", "removal_order"]

_STARTS = 10  # of k-means, the best of which counts
_TIE = 1e-6
"""Distances that differ by less than this share are equal: in a set of two, both are as near to the centre."""


def filter_points(group: ChannelGroup) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The filters of a group as points, and their l1 norms [width].

    The filters of tied layers are put behind one another. Where they have more weights than there are filters, the
    points are given by their coordinates in the space that they span, which leaves all distances as they are.

    Returns:
        Points [n, at most n dimensions] and norms.
    """
    rows = torch.cat([weight.detach().flatten(1) for weight in group.weights], 1).double().cpu()
    norms = rows.abs().sum(1).numpy()
    if rows.shape[1] > rows.shape[0]:
        left, singular, _ = torch.linalg.svd(rows, full_matrices=False)
        rows = left * singular
    return rows.numpy(), norms


@dataclass(eq=False)
class FilterClusters:
    """Passes of clustering over one group; a clustering that was made once is kept.

    Attributes:
        points: [n, D].
        norms: [n], the l1 norms, which break ties: the smaller goes.
        keep_one: False: the filter nearest to each set's centre goes, one a set. True: it is the only one that stays.
        grid: shares of clusters are rounded to multiples of 1 / grid, above 0.
    """

    points: NDArray
    norms: NDArray
    keep_one: bool = False
    grid: int = 20
    _known: dict[tuple[tuple[int, ...], int], tuple[int, ...]] = field(default_factory=dict)

    def clusters(self, share: float, left: int) -> int:
        """How many clusters a share in [0, 1] of `left` filters asks for.

        It is a share of the most that make sense: half as many as filters, so that sets may have two; as many as
        filters with `keep_one`. At least 1.
        """
        rounded = max(1, round(share * self.grid)) / self.grid
        return max(1, round(rounded * (left if self.keep_one else left // 2)))

    def redundant(self, left: Sequence[int], clusters: int) -> tuple[int, ...]:
        """The filters of `left` that one pass removes, the most redundant first; never all of them."""
        key = (tuple(left), clusters)
        if key not in self._known:
            self._known[key] = self._pass(np.array(left), clusters) if len(left) > 1 else ()
        return self._known[key]

    def passes(self, share: float) -> Iterator[tuple[int, ...]]:
        """What each pass removes when every pass asks for the same share of clusters, until nothing more goes."""
        left = tuple(range(len(self.points)))
        while gone := self.redundant(left, self.clusters(share, len(left))):
            yield gone
            left = tuple(sorted({*left} - {*gone}))

    def _pass(self, left: NDArray, clusters: int) -> tuple[int, ...]:
        from sklearn.cluster import KMeans  # a second to import, and only who clusters needs it
        from threadpoolctl import threadpool_limits

        points, norms = self.points[left], self.norms[left]
        with threadpool_limits(1):  # the order of sums, and with it the labels, would depend on the threads
            found = KMeans(clusters, n_init=_STARTS, random_state=0).fit(points)
        distances = np.linalg.norm(points - found.cluster_centers_[found.labels_], axis=1)
        gone: list[int] = []
        for label in range(clusters):
            members = np.flatnonzero(found.labels_ == label)
            if len(members) > 1:
                near = distances[members]
                tied = members[near <= near.min() * (1 + _TIE) + 1e-12]
                nearest = tied[norms[tied].argmax() if self.keep_one else norms[tied].argmin()]
                gone += [int(each) for each in members if (each != nearest) == self.keep_one]
        gone.sort(key=lambda each: (distances[each], norms[each], each))
        return tuple(left[gone].tolist())


def removal_order(order: Sequence[int], norms: NDArray) -> Tensor:
    """Scores [n] for `trial.surgery.fit`: what goes earlier is lower; what is not in `order` is higher, by its norm."""
    rest = sorted(set(range(len(norms))) - set(order), key=lambda index: norms[index])
    scores = torch.empty(len(norms))
    scores[torch.tensor([*order, *rest])] = torch.arange(len(norms), dtype=torch.float)
    return scores
