"""Reinforcement learning on channel groups: an environment that walks them, and agents.

`PruningEnv` is a `gymnasium` environment whose episode is one walk through a network's channel groups, and whose
reward is whatever a method says a pruned network is worth. `learn` lets an agent walk for a number of episodes: one
from stable-baselines3 (`ddpg` makes AMC's, `dqn` one for discrete actions, any other will do), or `UniformAgent`, which
draws its actions by lot. All of it is public: methods of other distributions may build on it.

    def reward(walk):
        with trial.surgery.masked(walk.keep):
            return trial.evaluate(images=1000).top1

    env = PruningEnv(trial, reward)
    search = learn(env, lambda env, seed: ddpg(env, seed), episodes=400, generator=trial.rng)
    if search.best is not None:
        trial.surgery.remove(search.best.keep)

Importing this package is light; gymnasium and stable-baselines3 are imported when a name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.rl.agents import Agent, Search, UniformAgent, ddpg, dqn, learn
    from bench.rl.bounds import Bounds
    from bench.rl.environment import PruningEnv, Walk
    from bench.rl.settings import DDPGSettings

_HOMES = {
    "bench.rl.agents": ("Agent", "Search", "UniformAgent", "ddpg", "dqn", "learn"),
    "bench.rl.bounds": ("Bounds",),
    "bench.rl.environment": ("PruningEnv", "Walk"),
    "bench.rl.settings": ("DDPGSettings",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["Agent", "Bounds", "DDPGSettings", "PruningEnv", "Search", "UniformAgent", "Walk", "ddpg", "dqn", "learn"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bench.rl' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
