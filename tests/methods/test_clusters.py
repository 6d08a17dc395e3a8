"""cluster-rl: which filter of a set goes, passes until the target, and clusterings that are kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench import Trial
from bench.methods._clusters import FilterClusters, filter_points, removal_order
from bench.methods.cluster_rl import ClusterRLConfig, Clusters

Make = Callable[..., Trial]

# two sets on a line: 0, 1, 5 round 2, and 100, 104 round 102; and one far away
POINTS = np.array([[0.0], [1.0], [5.0], [100.0], [104.0], [1000.0]])
NORMS = np.array([3.0, 2.0, 1.0, 9.0, 4.0, 5.0])


def test_the_filter_nearest_to_the_centre_goes_one_a_set() -> None:
    filters = FilterClusters(POINTS, NORMS)
    # of 0, 1, 5 it is 1; of the pair both are as near, and the smaller norm goes; a set of one stays
    assert filters.redundant(range(6), 3) == (1, 4)


def test_read_the_other_way_it_is_the_only_one_that_stays() -> None:
    filters = FilterClusters(POINTS, NORMS, keep_one=True)
    assert {*filters.redundant(range(6), 3)} == {0, 2, 4}


def test_a_share_asks_for_clusters_of_two_at_the_least() -> None:
    filters = FilterClusters(POINTS, NORMS)
    assert [filters.clusters(share, 20) for share in (0.0, 0.05, 0.3, 0.5, 1.0)] == [1, 1, 3, 5, 10]
    assert filters.clusters(1.0, 1) == 1
    assert FilterClusters(POINTS, NORMS, keep_one=True).clusters(1.0, 20) == 20
    assert filters.clusters(0.31, 100) == filters.clusters(0.29, 100) == 15  # a twentieth is the grid


def test_passes_cluster_what_is_left_until_one_filter_is() -> None:
    filters = FilterClusters(POINTS, NORMS)
    passes = list(filters.passes(1.0))
    assert passes[0] == (1, 4)
    gone = [index for each in passes for index in each]
    assert len(gone) == len({*gone}) == 5


def test_a_clustering_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = FilterClusters(POINTS, NORMS)
    first = filters.redundant(range(6), 3)
    monkeypatch.setattr(filters, "_pass", lambda *given: pytest.fail("clustered again"))
    assert filters.redundant(range(6), 3) == first


def test_what_goes_first_scores_lowest_and_the_rest_by_norm() -> None:
    # 4, then 1 go; of the others norms say 2, 0, 5, 3
    assert removal_order([4, 1], NORMS).tolist() == [3, 1, 2, 5, 0, 4]


def test_points_keep_the_distances_between_filters(make_trial: Make) -> None:
    group = make_trial().surgery.groups[1]
    points, norms = filter_points(group)
    rows = group.weight.detach().flatten(1).double()
    assert points.shape == (6, 6)  # 72 weights each
    assert np.allclose(np.linalg.norm(points[0] - points[3]), (rows[0] - rows[3]).norm())
    assert np.allclose(norms, rows.abs().sum(1))


def clusters(trial: Trial, **settings: Any) -> Clusters:
    trial.config = ClusterRLConfig(**settings)
    return Clusters(trial)


@pytest.mark.parametrize("settings", [{}, {"keep_one": True}])
@pytest.mark.parametrize("actions", [(0.0, 0.0), (0.5, 0.1), (0.1, 1.0)])
@pytest.mark.parametrize("target", ["macs=0.6", "macs=0.15"])
def test_walks_land_on_the_target_by_repeated_passes(
    make_trial: Make, target: str, actions: tuple[float, float], settings: dict[str, bool]
) -> None:
    trial = make_trial(target=target)
    keep = clusters(trial, **settings).land(dict(zip(("conv1", "conv2"), actions, strict=True)))
    assert trial.target.ratio is not None
    # one channel of conv2 is 8 * 9 * 64 + 4 of 32,280 MACs, one of conv1 less
    assert trial.surgery.ratio(keep) == pytest.approx(trial.target.ratio, abs=4700 / 32280 / 2)


def test_more_clusters_prune_a_group_harder(make_trial: Make) -> None:
    made = clusters(make_trial(target="macs=0.4"))
    few, many = made.land({"conv1": 0.1, "conv2": 0.5}), made.land({"conv1": 0.5, "conv2": 0.1})
    assert len(few["conv1"]) > len(many["conv1"])
    assert len(few["conv2"]) < len(many["conv2"])


def test_the_first_to_go_is_what_the_first_pass_says(make_trial: Make) -> None:
    trial = make_trial(target="macs=0.9")
    made = clusters(trial)
    keep = made.land({"conv1": 0.5, "conv2": 0.5})
    points, norms = filter_points(trial.surgery.groups[0])
    gone = FilterClusters(points, norms).redundant(range(8), 4)
    missing = {*range(8)} - {*keep["conv1"].tolist()}
    assert missing
    assert missing == {*gone[: len(missing)]}


def test_walks_of_the_environment_use_the_passes(make_trial: Make) -> None:
    trial = make_trial(target="macs=0.4")
    made = clusters(trial)
    env = made.environment(lambda walk: 0.0)
    env.reset()
    for action in (0.5, 0.2):
        *_, info = env.step(np.array([action], dtype=np.float32))
    walk = info["walk"]
    assert walk.shares["conv1"] >= 0.5  # one of each set goes, and sets of one stay
    wanted = made.land({"conv1": 0.5, "conv2": float(np.float32(0.2))})
    assert all(torch.equal(walk.keep[name], kept) for name, kept in wanted.items())
