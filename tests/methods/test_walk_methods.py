"""entropy-rl, accuracy-rl, random-search and cluster-rl: what sets them apart, what they spend, what they leave."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench import Config, Method, NotPrunable, Record, Trial
from bench.methods._amc import AMCConfig, reward_images
from bench.methods.accuracy_rl import AccuracyRL
from bench.methods.cluster_rl import ClusterRL
from bench.methods.entropy_rl import EntropyRL
from bench.methods.random_search import RandomSearch
from bench.trial.phases import calls_of

Make = Callable[..., Trial]
METHODS = (AccuracyRL, EntropyRL, RandomSearch, ClusterRL)


def pruned(method: type[Method], trial: Trial, **settings: Any) -> dict[str, list[int]]:
    """What the method keeps."""
    kept: dict[str, list[int]] = {}
    remove = trial.surgery.remove

    def told(keep: dict[str, torch.Tensor]) -> None:
        kept.update({name: indices.tolist() for name, indices in keep.items()})
        remove(keep)

    trial.surgery.remove = told  # type: ignore[method-assign]
    trial.config = method.Config.model_validate(settings)
    method().prune(trial)
    return kept


def walks(trial: Trial) -> list[float]:
    return [point.values["reward"] for point in calls_of(trial).curve if "reward" in point.values]  # type: ignore[misc]


# -- what sets them apart -----------------------------------------------------------------------------------------


def difference(first: Config, second: Config) -> dict[str, tuple[object, object]]:
    one, other = first.model_dump(), second.model_dump()
    assert one.keys() == other.keys()
    return {key: (one[key], other[key]) for key in one if one[key] != other[key]}


def test_the_methods_are_one_setting_apart() -> None:
    accuracy = AccuracyRL.Config()
    assert difference(accuracy, EntropyRL.Config()) == {"reward": ("accuracy", "entropy")}
    assert difference(accuracy, RandomSearch.Config()) == {"agent": ("ddpg", "uniform")}


def test_that_setting_makes_one_the_other(make_trial: Make) -> None:
    few = {"episodes": 8, "room": 8}
    first, second = make_trial(), make_trial()
    kept = pruned(AccuracyRL, first, **few)
    assert pruned(EntropyRL, second, reward="accuracy", **few) == kept
    assert walks(first) == walks(second)
    third = make_trial()
    pruned(EntropyRL, third, **few)
    assert walks(third) != walks(first)
    assert third.ledger.phases["search"].macs == first.ledger.phases["search"].macs


def test_the_uniform_agent_walks_by_lot_on_the_same_terms(make_trial: Make) -> None:
    first, second = make_trial(), make_trial()
    kept = pruned(RandomSearch, first, episodes=6, room=6)
    assert pruned(AccuracyRL, second, agent="uniform", episodes=6, room=6) == kept
    assert walks(first) == walks(second)


# -- what they spend ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("budget", "share"), [(6.0, 0.3), (20.0, 0.1)])
def test_the_search_keeps_to_its_share_and_uses_it(
    make_trial: Make, method: type[Method], budget: float, share: float
) -> None:
    trial = make_trial(budget=budget, search_share=share)
    pruned(method, trial, room=5, agent="uniform")
    spent = trial.ledger.budget.spent(trial.ledger.phases["search"])
    assert 0.5 * share * budget < spent <= share * budget


@pytest.mark.parametrize("method", METHODS)
def test_without_a_walk_to_spare_the_target_is_met_all_the_same(make_trial: Make, method: type[Method]) -> None:
    trial = make_trial(search_share=0.001)
    pruned(method, trial)
    assert walks(trial) == []
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.08)


@pytest.mark.usefixtures("ticking")
def test_seconds_end_a_search_too(make_trial: Make) -> None:
    trial = make_trial(budget=1.0, unit="device_seconds")
    pruned(RandomSearch, trial, episodes=100_000)
    assert 0 < len(walks(trial)) < 100_000
    assert trial.ledger.phases["search"].device_seconds < 0.6


def test_a_small_budget_makes_room_for_walks_by_fewer_images(make_trial: Make) -> None:
    # 6 dense epochs of 96 images, 3 x MACs each, and 0.3 of it to search: 518 images forward
    trial = make_trial()
    for room, images in ((3, (32, 96)), (4, (32, 71)), (7, (32, 32)), (100, (32, 32))):
        trial.config = AMCConfig(room=room)
        assert reward_images(trial) == images
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
            torch.nn.Linear(8, 4),
        )  # fmt: skip
    trial = make_trial(plain)
    for room, few in ((3, 32), (50, 10), (1000, 1)):  # 518 / 51 is 10
        trial.config = AMCConfig(room=room)
        assert reward_images(trial)[0] == few


def test_what_a_search_did_is_logged(make_trial: Make) -> None:
    trial = make_trial(budget=20.0)
    pruned(AccuracyRL, trial, episodes=8, room=8, warmup=0.5)
    (summary,) = [p.values for p in calls_of(trial).curve if "search/episodes" in p.values]
    rewards = walks(trial)
    assert summary["search/episodes"] == len(rewards) == 8
    assert 1 <= (summary["search/distinct"] or 0) <= 8
    assert summary["search/winner"] == rewards.index(max(rewards)) + 1
    assert summary["search/winner_in_warmup"] == float(rewards.index(max(rewards)) < 4)


# -- what they leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_fixes_everything_and_global_generators_are_left_alone(make_trial: Make, method: type[Method]) -> None:
    found = []
    for noise in (1, 2):
        random.seed(noise)
        np.random.seed(noise)  # noqa: NPY002
        torch.manual_seed(noise)
        before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
        trial = make_trial(budget=20.0)
        trial.train(epochs=2)
        found.append((pruned(method, trial, episodes=8, room=8), walks(trial)))
        after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
        assert after == before
    assert found[0] == found[1]
    assert len({*found[0][1]}) > 1


@pytest.mark.parametrize("method", METHODS)
def test_the_best_walk_is_what_goes_and_the_curve_shows_the_search(make_trial: Make, method: type[Method]) -> None:
    trial = make_trial(budget=20.0)
    pruned(method, trial, episodes=12, room=12, agent="uniform")
    points = [point.values for point in calls_of(trial).curve if "reward" in point.values]
    assert [point["episode"] for point in points] == [1.0 + i for i in range(len(points))]
    rewards = walks(trial)
    assert [point["best"] for point in points] == [max(rewards[: i + 1]) for i in range(len(rewards))]
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("method", METHODS)
def test_a_target_out_of_reach_is_refused_before_any_work(make_trial: Make, method: type[Method]) -> None:
    trial = make_trial(target="macs=0.001")
    with pytest.raises(NotPrunable):
        pruned(method, trial)
    assert trial.ledger.total.macs == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_a_run_meets_its_target(run: Callable[..., Record], name: str) -> None:
    record = run(name, "macs=0.25", settings=("episodes=20", "room=20"))
    assert record.status == "ok", record.error
    assert record.ledger["search"].images_forward > 0
    assert record.ratios is not None
    assert record.ratios.macs == pytest.approx(0.25, rel=0.05)
