"""Agents: credit and baseline by hand, noise, learning rates, and a walk whose best policy is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from torch import Tensor, nn

from bench import BudgetSpent, Trial
from bench.rl import Agent, DDPGSettings, PruningEnv, Search, UniformAgent, Walk, ddpg, dqn, learn
from bench.rl.amc_ddpg import truncated_normal
from bench.rl.replay import WalkReplayBuffer
from bench.trial.phases import calls_of

Make = Callable[..., Trial]


# -- replay -------------------------------------------------------------------------------------------------------


def buffer(**settings: Any) -> WalkReplayBuffer:
    """Two walks of two steps in a buffer of four: rewards 1 and 3 at their ends."""
    made = WalkReplayBuffer(
        4, spaces.Box(0, 1, (1,)), spaces.Box(0, 1, (1,)), device="cpu", handle_timeout_termination=False, **settings
    )
    step = np.zeros((1, 1), dtype=np.float32)
    for reward in (1.0, 3.0):
        for done, given in ((False, 0.0), (True, reward)):
            made.add(step, step, step, np.array([given]), np.array([done]), [{}])
    return made


def test_a_walks_reward_is_copied_to_all_its_steps_or_left_at_its_end() -> None:
    assert buffer().rewards.flatten().tolist() == [1, 1, 3, 3]
    assert buffer(credit="terminal").rewards.flatten().tolist() == [0, 1, 0, 3]
    full = buffer()
    step = np.zeros((1, 1), dtype=np.float32)
    for done, given in ((False, 0.0), (False, 0.0), (True, 7.0)):  # goes round the end of the buffer
        full.add(step, step, step, np.array([given]), np.array([done]), [{}])
    assert full.rewards.flatten().tolist() == [7, 7, 7, 3]


def test_the_baseline_is_a_moving_average_of_what_is_sampled() -> None:
    made = buffer(baseline=0.5)
    np.random.seed(0)  # noqa: NPY002 - stable-baselines3 draws from the global generator
    drawn = made.sample(1000).rewards
    assert drawn.mean().abs() < 1e-5  # the first batch is its own baseline
    assert {*np.round(drawn.flatten().tolist(), 1)} == {-1.0, 1.0}
    made.rewards[:] = 10.0
    average = 3 - drawn.max().item()
    assert made.sample(10).rewards.flatten().tolist() == pytest.approx([10 - (average + 10) / 2] * 10, abs=1e-4)
    assert {*buffer(baseline=1.0).sample(50).rewards.flatten().tolist()} == {1.0, 3.0}


# -- DDPG ---------------------------------------------------------------------------------------------------------


def test_noise_is_truncated_and_not_clipped() -> None:
    drawn = truncated_normal(np.full(20_000, 0.9), 0.5, np.random.default_rng(0))
    assert drawn.dtype == np.float32
    assert (np.abs(drawn) <= 1).all()
    assert (drawn == 1).mean() < 0.001  # clipping would put 42 % there
    narrow = truncated_normal(np.full(20_000, 0.2), 0.1, np.random.default_rng(0))
    assert narrow.mean() == pytest.approx(0.2, abs=0.005)
    assert narrow.std() == pytest.approx(0.1, abs=0.005)
    assert truncated_normal(np.array([1.0, -1.0]), 1e-9, np.random.default_rng(0)).tolist() == [1.0, -1.0]


class Plain(nn.Module):
    """Four 3x3 convolutions of 32 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(32 if i else 1, 32, 3, padding=1) for i in range(4)])
        self.fc = nn.Linear(32, 4)

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = layer(images).relu()
        return self.fc(images.mean((2, 3)))


def toy(make_trial: Make, seed: int = 0) -> tuple[Trial, PruningEnv]:
    """A walk at 0.3 of the MACs whose best widths are known: the reward is minus the mean distance from them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trial = make_trial(Plain(), target="macs=0.3", seed=seed)
    names = [group.name for group in trial.surgery.groups]
    best = trial.surgery.fit(ratios=dict(zip(names, (0.9, 0.3, 0.6, 0.55), strict=True)))

    def reward(walk: Walk) -> float:
        return -float(np.mean([abs(len(walk.keep[name]) - len(best[name])) / 32 for name in names]))

    return trial, PruningEnv(trial, reward)


def searched(make_trial: Make, seed: int, episodes: int, settings: DDPGSettings | None) -> Search:
    """What the agent finds; a uniform one without settings."""
    trial, env = toy(make_trial, seed)

    def make(env: PruningEnv, seed: int) -> Agent:
        return UniformAgent(env, seed) if settings is None else ddpg(env, seed, episodes, settings)

    return learn(env, make, episodes, trial.rng)


def test_ddpg_has_amcs_settings(make_trial: Make) -> None:
    _, env = toy(make_trial)
    agent: Any = ddpg(env, 0, episodes=8)
    agent.learn(total_timesteps=4 * env.length)
    assert agent.gamma == 1.0
    assert [group["lr"] for group in agent.actor.optimizer.param_groups] == [1e-4]
    assert [group["lr"] for group in agent.critic.optimizer.param_groups] == [1e-3]
    assert agent.replay_buffer.buffer_size == 400
    assert [layer.out_features for layer in agent.actor.mu if isinstance(layer, nn.Linear)] == [300, 300, 1]
    assert agent.device.type == "cpu"


def test_ddpg_walks_at_random_first_and_then_learns(make_trial: Make) -> None:
    _, env = toy(make_trial)
    agent: Any = ddpg(env, 0, episodes=8)  # a quarter of them at random
    before = [parameter.clone() for parameter in agent.actor.parameters()]
    agent.learn(total_timesteps=2 * env.length)
    assert all(torch.equal(old, new) for old, new in zip(before, agent.actor.parameters(), strict=True))
    agent.learn(total_timesteps=env.length, reset_num_timesteps=False)
    assert not all(torch.equal(old, new) for old, new in zip(before, agent.actor.parameters(), strict=True))


@pytest.mark.slow
def test_ddpg_finds_the_best_policy_of_a_toy_walk_in_100_episodes_and_beats_random_search(make_trial: Make) -> None:
    # distances from the best widths, as shares of the channels, over five seeds; seen when this was written: the last
    # 20 walks 0.04 to 0.19, on average 0.10 (by lot 0.32), the best walk 0.044 on average (by lot 0.078)
    agents = [searched(make_trial, seed, 100, DDPGSettings()) for seed in range(5)]
    lots = [searched(make_trial, seed, 100, None) for seed in range(5)]
    last = [-float(np.mean(agent.rewards[-20:])) for agent in agents]
    by_lot = [-float(np.mean(lot.rewards)) for lot in lots]
    assert max(last) < 0.25 < min(by_lot)
    assert np.mean(last) < 0.15
    assert np.mean([-agent.reward for agent in agents]) < min(0.06, np.mean([-lot.reward for lot in lots]))


# -- DQN ----------------------------------------------------------------------------------------------------------


def chosen(make_trial: Make, seed: int = 0) -> PruningEnv:
    """A walk whose reward is the share of layers that choose the second of three levels."""
    trial, _ = toy(make_trial, seed)
    return PruningEnv(
        trial,
        lambda walk: sum(each == 1 for each in walk.actions.values()) / 4,
        levels=(1.0, 0.9, 0.5),
        bounded=False,
    )


def test_dqn_learns_which_level_pays_and_goes_on_in_another_environment(make_trial: Make) -> None:
    first, second = chosen(make_trial), chosen(make_trial)
    agent = dqn(first, 0, gamma=0.0, epsilon=0.0, exploring=60, updates=50)
    learn(first, lambda env, seed: agent, 60, first.trial.rng)
    agent.set_env(second)
    found = learn(second, lambda env, seed: agent, 5, second.trial.rng)
    assert np.mean([reward for _, reward in first.walks[:20]]) < 0.6 < min(found.rewards)
    assert agent.num_timesteps == 65 * 4


def test_random_actions_become_fewer_over_all_walks(make_trial: Make) -> None:
    env = chosen(make_trial)
    agent = dqn(env, 0, gamma=0.9, epsilon=0.1, exploring=3, updates=1)
    seen = [agent.exploration_rate]
    for _ in range(5):
        learn(env, lambda env, seed: agent, 1, env.trial.rng)
        seen.append(agent.exploration_rate)
    assert seen == pytest.approx([1.0, 0.7, 0.4, 0.1, 0.1, 0.1])


def test_every_step_of_a_dqn_has_its_walks_reward_and_only_the_last_one_ends_it(make_trial: Make) -> None:
    env = chosen(make_trial)
    agent: Any = dqn(env, 0, gamma=0.9, epsilon=0.1, exploring=3, updates=2)
    learn(env, lambda env, seed: agent, 2, env.trial.rng)
    rewards = [reward for _, reward in env.walks]
    assert agent.replay_buffer.rewards[:8].flatten().tolist() == pytest.approx([r for r in rewards for _ in range(4)])
    assert agent.replay_buffer.dones[:8].flatten().tolist() == [0, 0, 0, 1] * 2
    weights = zip(agent.q_net.parameters(), agent.q_net_target.parameters(), strict=True)
    assert any(not torch.equal(now, target) for now, target in weights)


# -- learn --------------------------------------------------------------------------------------------------------


def test_a_search_is_fixed_by_its_seed_and_gives_the_best_walk(make_trial: Make) -> None:
    first, again, other = (searched(make_trial, seed, 8, DDPGSettings()) for seed in (0, 0, 1))
    assert first.rewards == again.rewards != other.rewards
    assert len(first.rewards) == 8
    assert first.reward == max(first.rewards)
    assert first.best is not None


def test_a_spent_budget_ends_a_search_with_what_was_found(make_trial: Make) -> None:
    trial, _ = toy(make_trial)
    left = [3.0, 5.0, 4.0]

    def reward(walk: Walk) -> float:
        if not left:
            raise BudgetSpent("no more")
        return left.pop(0)

    env = PruningEnv(trial, reward)
    found = learn(env, UniformAgent, 100, trial.rng)
    assert (found.rewards, found.reward, found.best) == ((3.0, 5.0, 4.0), 5.0, env.walks[1][0])
    assert learn(env, UniformAgent, 100, trial.rng) == Search(None, float("-inf"), ())


def test_other_agents_walk_too(make_trial: Make) -> None:
    trial, _ = toy(make_trial)
    env = PruningEnv(trial, lambda walk: walk.shares["layers.0"], levels=(1.0, 0.9, 0.5, 0.1))
    found = learn(env, lambda env, seed: DQN("MlpPolicy", env, seed=seed, device="cpu"), 5, trial.rng)
    assert len(found.rewards) == 5
    assert found.best is not None
    assert {*found.best.actions.values()} <= {0.0, 1.0, 2.0, 3.0}


def test_what_a_search_did_is_logged_and_equal_networks_count_once(make_trial: Make) -> None:
    trial, _ = toy(make_trial)
    env = PruningEnv(trial, lambda walk: walk.actions["layers.0"] / 4, levels=(1.0, 0.9, 0.5), bounded=False)

    class Scripted:
        def learn(self, total_timesteps: int) -> None:
            for first in (0, 2, 1, 2):
                env.reset()
                for action in (first, 0, 0, 0):
                    env.step(action)

    learn(env, lambda env, seed: Scripted(), 4, trial.rng, warmup=1)
    *walks, summary = [point.values for point in calls_of(trial).curve]
    assert walks == [{"episode": n, "reward": r, "best": b} for n, r, b in
                     ((1, 0.0, 0.0), (2, 0.5, 0.5), (3, 0.25, 0.5), (4, 0.5, 0.5))]  # fmt: skip
    assert summary == {
        "search/episodes": 4.0, "search/distinct": 3.0, "search/winner": 2.0, "search/winner_in_warmup": 0.0,
    }  # fmt: skip
