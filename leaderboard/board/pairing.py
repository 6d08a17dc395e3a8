"""Who is better than whom: all pairs of rows at once, paired by seed, with ranks from Holm's correction."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.leaderboard.board.board import SEEDS_TO_BE_PROVISIONAL, SEEDS_TO_RANK
from bench.leaderboard.board.comparable import Start
from bench.leaderboard.board.comparison import LEVEL, Place, places
from bench.leaderboard.stats.statistics import Paired, holm, paired_t

__all__ = ["AllPairs", "all_pairs"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AllPairs:
    """The pairs of rows that share at least three starts, and what follows for each row.

    Attributes:
        starts: seeds with their dense networks, the rows of `shared`.
        first, second: row numbers of each pair.
        tests: by pair, first minus second.
        p_holm: by pair, corrected over all of them.
        shared: `[starts, pairs]`, which starts both have.
        places: by row; None where it is compared with no other.
        rivals: by row, with how many others it is compared.
        field: number of rows that are ranked among each other.
    """

    starts: tuple[Start, ...]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    tests: Paired
    p_holm: Floats
    shared: NDArray[np.bool_]
    places: tuple[Place | None, ...]
    rivals: NDArray[np.int64]
    field: int


def all_pairs(scores: Sequence[Mapping[Start, float]], resolution: float) -> AllPairs:
    """Tests every pair of rows that share three starts or more.

    Where rows fall apart into sets without any such pair between them, as those of two machines do, only the largest
    set is ranked: a place among others says nothing about these.

    Args:
        scores: by row, a value for each start; rows with fewer than three are in no pair.
        resolution: see `paired_t`.
    """
    starts = tuple(sorted({start for row in scores for start in row}))
    number: Mapping[Hashable, int] = {start: i for i, start in enumerate(starts)}
    matrix = np.full((len(starts), len(scores)), np.nan)
    for column, row in enumerate(scores):
        for start, value in row.items():
            matrix[number[start], column] = value
    known = ~np.isnan(matrix)
    field = np.flatnonzero(known.sum(axis=0) >= SEEDS_TO_BE_PROVISIONAL)
    left, right = np.triu_indices(len(field), k=1)
    first, second = field[left], field[right]
    enough = (known[:, first] & known[:, second]).sum(axis=0) >= SEEDS_TO_BE_PROVISIONAL
    first, second = first[enough], second[enough]
    if not enough.all():
        first, second, field = _largest_field(first, second, len(scores))
    tests = paired_t(matrix[:, first] - matrix[:, second], resolution)
    p_holm = holm(tests.p)
    significant = p_holm < LEVEL
    loser = np.where(tests.mean > 0, second, first)[significant]
    rows = len(scores)
    worse_than = np.bincount(loser, minlength=rows)
    rivals = np.bincount(np.concatenate([first, second]), minlength=rows)
    ranks = [int(worse_than[i]) + 1 if rivals[i] else None for i in range(rows)]
    unsure = [bool(len(scores[i]) < SEEDS_TO_RANK or rivals[i] < len(field) - 1) for i in range(rows)]
    shared = known[:, first] & known[:, second]
    return AllPairs(starts, first, second, tests, p_holm, shared, places(ranks, unsure), rivals, len(field))


def _largest_field(
    first: NDArray[np.intp], second: NDArray[np.intp], rows: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of the largest connected set of rows, of equal ones that with the first row, and its rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(
        coo_array((np.ones(len(first)), (first, second)), shape=(rows, rows)), directed=False
    )
    sizes = np.bincount(label)[label]
    inside = label == label[np.argmax(sizes)] if len(first) else np.zeros(rows, dtype=bool)
    return first[inside[first]], second[inside[first]], np.flatnonzero(inside)
