"""The environment that walks channel groups: what it shows, what it allows, and where walks land."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch import Tensor, nn

from bench import Trial, UsageError
from bench.rl import Bounds, PruningEnv, Walk

Make = Callable[..., Trial]


class Chain(nn.Module):
    """Three 3x3 convolutions of 10, 20 and 10 channels, the second with stride 2, and a linear layer.

    MACs on 8x8: 10 * 9 * 64 + 10 * 20 * 9 * 16 + 20 * 10 * 9 * 16 + 10 * 4 = 63,400.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 10, 3, padding=1)
        self.second = nn.Conv2d(10, 20, 3, padding=1, stride=2)
        self.third = nn.Conv2d(20, 10, 3, padding=1)
        self.fc = nn.Linear(10, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(self.first(images).relu()).relu()
        return self.fc(self.third(maps).relu().mean((2, 3)))


@pytest.fixture
def chain(make_trial: Make) -> Callable[..., Trial]:
    """`chain(target="macs=0.3")`: a trial on `Chain`."""

    def make(**settings: Any) -> Trial:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make_trial(Chain(), **settings)

    return make


def walked(env: PruningEnv, *actions: float) -> Walk:
    env.reset()
    for action in actions:
        _, _, done, _, info = env.step(np.array([action], dtype=np.float32))
    assert done
    return info["walk"]


def worthless(walk: Walk) -> float:
    return 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("levels", [None, (1.0, 0.9, 0.5)])
def test_gymnasiums_own_check_passes(chain: Make, levels: tuple[float, ...] | None) -> None:
    env = PruningEnv(chain(), worthless, levels=levels)
    check_env(env, skip_render_check=True)
    assert env.length == 3


@pytest.mark.parametrize("target", ["macs=0.7", "macs=0.3", "macs=0.1", "macs=0.03", "params=0.3"])
@pytest.mark.parametrize("actions", [(0, 0, 0), (1, 1, 1), (0, 1, 0), (1, 0, 1), (0.3, 0.9, 0.1)])
def test_every_walk_lands_on_the_target_whatever_the_actions(
    chain: Make, target: str, actions: tuple[float, ...]
) -> None:
    trial = chain(target=target)
    walk = walked(PruningEnv(trial, worthless), *actions)
    assert trial.target.ratio is not None
    smallest = trial.surgery.ratios_at(np.array([[1, 1, 1]]))[0]
    step = max(g.macs_per_channel / 63400 if "macs" in target else g.params_per_channel / trial.surgery.params
               for g in trial.surgery.groups)  # fmt: skip
    assert abs(trial.surgery.ratio(walk.keep) - max(trial.target.ratio, smallest)) < step / 2
    assert all(len(kept) >= 1 for kept in walk.keep.values())


def test_a_walk_that_kept_too_much_must_cut_and_one_that_cut_too_much_must_keep(chain: Make) -> None:
    env = PruningEnv(chain(target="macs=0.3"), worthless)
    # widths a, b, c cost 576 a + 144 a b + 144 b c + 4 c MACs, and 0.3 of 63,400 are 19,020
    # all of the first leaves 5760 + 1440 b + 144 b + 4 for the second, 8, and 17,280 + 1156 c for the third, 1
    assert walked(env, 1, 1, 1).shares == {"first": 1.0, "second": 0.4, "third": 0.1}
    # one of the first asks for 616 + 1584 b of the second, 12; 2304 + 1732 c is then over it at 10, so 9
    assert walked(env, 0, 0, 1).shares == {"first": 0.1, "second": 0.6, "third": 0.9}


def test_bounds_by_hand() -> None:
    # two groups of 10 channels that cost 1 a channel each: shares are sums / 20
    bounds = Bounds(lambda widths: widths.sum(1) / 20, [10, 10], ratio=0.6, lower=0.2)
    assert bounds.least.tolist() == [2, 2]
    assert bounds.between([]) == (2, 10)  # 12 are to stay: 2 + 10 or 10 + 2
    assert bounds.between([4]) == (8, 8)
    tight = Bounds(lambda widths: widths.sum(1) / 20, [10, 10], ratio=0.9, lower=0.2)
    assert tight.between([]) == (8, 10)  # 7 could not be made up by the second group
    small = Bounds(lambda widths: widths.sum(1) / 20, [10, 10], ratio=0.1, lower=0.2)
    assert small.least.tolist() == [1, 1]  # a lower bound above the target gives way
    assert small.between([]) == (1, 1)


def test_what_an_agent_sees_by_hand(chain: Make) -> None:
    env = PruningEnv(chain(target="macs=0.3"), worthless, lower=0.1)
    first, _ = env.reset()
    # index, type, inputs 1 of 1..20, outputs 10 of 10..20, stride 1 of 1..2, kernels alike, weights 90 of 90..1800
    assert first[:7].tolist() == [0, 0, 0, 0, 0, 0, 0]
    assert first[7] == 0 and first[9] == 1
    # at the lower bound of 1, 2 and 1 channels: 576 + 1 * 2 * 144 * 2 + 4 = 1156 MACs of 63,400
    assert first[8] == pytest.approx(1 - 1156 / 63400)
    second, reward, done, truncated, _ = env.step(np.array([0.5], dtype=np.float32))
    assert (reward, done, truncated) == (0.0, False, False)
    assert second[:7].tolist() == pytest.approx([0.5, 0, 9 / 19, 1, 1, 0, 1])
    # 5 of the first 10 channels: 5 * 576 and 5 * 20 * 144 less
    assert second[7] == pytest.approx((5 * 576 + 5 * 20 * 144) / 63400)
    # still to go from 63,400 - 17,280: 5 * 20 * 144 + 28,800 + 40 down to 5 * 2 * 144 + 2 * 144 + 4
    assert second[8] == pytest.approx((14400 + 28800 + 40 - 1440 - 288 - 4) / 63400)
    assert second[9] == 0.5


def test_the_reward_comes_at_the_end_with_the_walk(chain: Make) -> None:
    seen: list[Walk] = []

    def reward(walk: Walk) -> float:
        seen.append(walk)
        return 0.25

    env = PruningEnv(chain(target="macs=0.3"), reward)
    env.reset()
    given = [env.step(np.array([0.5], dtype=np.float32))[1] for _ in range(3)]
    assert given == [0.0, 0.0, 0.25]
    assert env.walks == [(seen[0], 0.25)]
    assert list(seen[0].actions) == ["first", "second", "third"]
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.array([0.5], dtype=np.float32))


def test_the_channels_with_the_smallest_norms_go_or_those_that_a_ranking_says(chain: Make) -> None:
    trial = chain(target="macs=0.3")
    norms = trial.network.get_submodule("second").weight.detach().abs().sum((1, 2, 3))
    kept = walked(PruningEnv(trial, worthless), 0.5, 0.5, 0.5).keep["second"]
    assert {*kept.tolist()} == {*norms.argsort(descending=True)[: len(kept)].tolist()}
    asked: list[dict[str, float]] = []

    def ranking(actions: Any) -> dict[str, Tensor]:
        asked.append(actions)
        return {group.name: -torch.arange(group.width).float() for group in trial.surgery.groups}

    env = PruningEnv(trial, worthless, levels=(1.0, 0.5), ranking=ranking)
    assert all(kept.tolist() == list(range(len(kept))) for kept in walked(env, 1, 0, 1).keep.values())
    assert asked == [{"first": 1.0, "second": 0.0, "third": 1.0}]


def test_a_free_walk_keeps_what_its_actions_say(chain: Make) -> None:
    env = PruningEnv(chain(target="auto"), worthless, bounded=False, levels=(1.0, 0.9, 0.5), extra=lambda group: [0.5])
    walk = walked(env, 0, 1, 2)
    assert [len(kept) for kept in walk.keep.values()] == [10, 18, 5]
    assert env.observation_space.shape == (11,)


def test_a_reward_may_remove_channels_and_the_next_walk_begins_there(chain: Make) -> None:
    trial = chain(target="auto")

    def reward(walk: Walk) -> float:
        trial.surgery.remove(walk.keep)
        return 1.0

    env = PruningEnv(trial, reward, bounded=False)
    walked(env, 0.5, 0.5, 0.5)
    walk = walked(env, 1, 1, 0.6)
    assert [len(kept) for kept in walk.keep.values()] == [5, 10, 3]
    env.reset()
    assert env.group.width == 5


def test_walks_may_end_between_two_sizes_that_are_asked_for_each(chain: Make) -> None:
    trial = chain(target="macs=0.3")
    asked = iter([(0.3, 0.8), (0.3, 0.8), (0.3, 0.5), (0.3, 0.3)])
    env = PruningEnv(trial, lambda walk: trial.surgery.ratio(walk.keep), sizes=lambda: next(asked), lower=0.5)
    assert [len(kept) for kept in walked(env, 0.9, 0.9, 0.9).keep.values()] == [
        9,
        18,
        8,
    ]  # 9 would leave 0.82
    assert walked(env, 1, 1, 1) and walked(env, 0, 0, 0)
    rewards = [reward for _, reward in env.walks]
    assert rewards[0] <= 0.84 and 0.45 < rewards[1] <= 0.5 and rewards[2] == pytest.approx(0.3, abs=0.03)


def test_wrong_settings_are_refused(chain: Make) -> None:
    with pytest.raises(UsageError, match="bounded=False"):
        PruningEnv(chain(target="auto"), worthless)
    for settings in ({"lower": 0.0}, {"levels": (0.5, 0.0)}):
        with pytest.raises(UsageError, match="above 0"):
            PruningEnv(chain(), worthless, **settings)  # type: ignore[arg-type]


def test_bounds_never_cross_on_a_residual_network(make_trial: Make) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 12, 3, padding=1)
            self.inner = nn.Conv2d(12, 12, 3, padding=1)
            self.outer = nn.Conv2d(12, 12, 3, padding=1)
            self.fc = nn.Linear(12, 4)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.stem(images).relu()
            return self.fc((maps + self.outer(self.inner(maps).relu())).relu().mean((2, 3)))

    trial = make_trial(Residual(), target="macs=0.2")
    env = PruningEnv(trial, worthless)
    for action in np.linspace(0, 1, 9):
        walk = walked(env, action, 1 - action)
        assert trial.surgery.ratio(walk.keep) == pytest.approx(0.2, abs=0.03)
    sizes = [len(walk.keep["stem"]) for walk, _ in env.walks]
    assert all(before <= after for before, after in pairwise(sizes)) and sizes[0] < sizes[-1]
