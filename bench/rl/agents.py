"""Agents, and `learn`, which lets one of them walk and logs what the search did."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from bench.errors import BudgetSpent
from bench.rl.settings import DDPGSettings
from bench.seeding import isolated

if TYPE_CHECKING:
    from bench.rl.environment import PruningEnv, Walk
    from bench.rl.patient_dqn import PatientDQN

__all__ = ["Agent", "Search", "UniformAgent", "ddpg", "dqn", "learn"]


class Agent(Protocol):
    """What `learn` needs of an agent: every algorithm of stable-baselines3 has it."""

    def learn(self, total_timesteps: int) -> Any:
        """Walks so many steps in its environment."""


@dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        best: the walk with the highest reward, the first of equal ones; None where none was finished.
        reward: of that walk; -inf without one.
        rewards: of all walks, in order.
    """

    best: "Walk | None"
    reward: float
    rewards: tuple[float, ...]


def learn(
    env: "PruningEnv",
    make: Callable[["PruningEnv", int], Agent],
    episodes: int,
    generator: torch.Generator,
    warmup: int = 0,
) -> Search:
    """Lets an agent walk, and learn, for a number of episodes or until the budget is spent.

    The agent is made and runs with global generators that are seeded for it and put back after, so that one seed fixes
    everything, and what it learns depends on rewards alone: a search can be replayed. In the end `search/episodes`,
    `search/distinct` (networks), `search/winner` (its episode, from 1) and `search/winner_in_warmup` are logged.

    Args:
        env: the environment, whose earlier walks are left out of the result.
        make: from the environment and a seed to an agent.
        episodes: walks, at most.
        generator: draws the agent's seed: `trial.rng`.
        warmup: how many walks the agent makes at random first.

    Returns:
        The best walk. A walk whose reward raised `BudgetSpent` ends the search and does not count.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    before = len(env.walks)
    with isolated("bench.rl", seed), suppress(BudgetSpent):
        make(env, seed).learn(total_timesteps=episodes * env.length)
    walks = env.walks[before:]
    if not walks:
        return Search(None, float("-inf"), ())
    rewards = [reward for _, reward in walks]
    winner = rewards.index(max(rewards))
    networks = {tuple((name, *map(int, kept)) for name, kept in sorted(walk.keep.items())) for walk, _ in walks}
    summary = {"episodes": len(walks), "distinct": len(networks), "winner": winner + 1}
    summary["winner_in_warmup"] = winner < warmup
    env.trial.log(**{f"search/{name}": value for name, value in summary.items()})
    return Search(walks[winner][0], rewards[winner], tuple(rewards))


def ddpg(env: "PruningEnv", seed: int, episodes: int, settings: DDPGSettings | None = None) -> Agent:
    """AMC's agent on the CPU: see `bench.rl.amc_ddpg` and `DDPGSettings`.

    It learns after each walk, as many steps as the walk had (times `updates`), with discount 1.

    Args:
        env: with continuous actions.
        seed: fixes it.
        episodes: walks that it will be given, for the warm-up's length.
        settings: None for AMC's.
    """
    from bench.rl.amc_ddpg import AMCDDPG  # stable-baselines3: only who walks needs it
    from bench.rl.replay import WalkReplayBuffer

    settings = settings or DDPGSettings.model_validate({})
    warmup = round(settings.warmup * episodes)
    return AMCDDPG(
        "MlpPolicy",
        env,
        sigma=settings.sigma,
        decay=settings.decay,
        warmup=warmup,
        actor_rate=settings.actor_rate,
        critic_rate=settings.critic_rate,
        buffer_size=settings.replay * env.length,
        learning_starts=warmup * env.length,
        batch_size=settings.batch,
        tau=settings.tau,
        gamma=1.0,
        train_freq=(1, "episode"),
        gradient_steps=settings.updates * env.length,
        replay_buffer_class=WalkReplayBuffer,
        replay_buffer_kwargs={"baseline": settings.baseline, "credit": settings.credit},
        policy_kwargs={"net_arch": list(settings.hidden)},
        seed=seed,
        device="cpu",
    )


def dqn(
    env: "PruningEnv", seed: int, gamma: float, epsilon: float, exploring: int, updates: int, replay: int = 10_000
) -> "PatientDQN":
    """A deep Q-network (Mnih et al. 2015) on the CPU, for walks with discrete actions: see `bench.rl.patient_dqn`.

    Every step of a walk is given the walk's reward, and the agent learns after each walk.

    Args:
        env: with `levels`.
        seed: fixes it.
        gamma: discount from a step to the next.
        epsilon: share of random actions in the end; 1 at first.
        exploring: walks over which it falls, linearly, counted over all calls of `learn`.
        updates: gradient steps a walk.
        replay: steps that are remembered.
    """
    from bench.rl.patient_dqn import PatientDQN  # stable-baselines3: only who walks needs it
    from bench.rl.replay import WalkReplayBuffer

    return PatientDQN(
        "MlpPolicy",
        env,
        exploring=exploring * env.length,
        gamma=gamma,
        exploration_final_eps=epsilon,
        learning_starts=0,
        buffer_size=replay,
        target_update_interval=env.length,
        train_freq=(1, "episode"),
        gradient_steps=updates,
        replay_buffer_class=WalkReplayBuffer,
        replay_buffer_kwargs={"baseline": 1.0},
        seed=seed,
        device="cpu",
    )


class UniformAgent:
    """Walks with actions drawn uniformly, and learns nothing: what an agent adds is its reward minus this one's."""

    def __init__(self, env: "PruningEnv", seed: int) -> None:
        self._env = env
        env.action_space.seed(seed)

    def learn(self, total_timesteps: int) -> "UniformAgent":
        """Walks so many steps."""
        done = True
        for _ in range(total_timesteps):
            if done:
                self._env.reset()
            _, _, done, _, _ = self._env.step(self._env.action_space.sample())
        return self
