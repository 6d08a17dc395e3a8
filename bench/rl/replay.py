"""A replay buffer that knows walks: their reward on every step, less a moving average."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

__all__ = ["WalkReplayBuffer"]


class WalkReplayBuffer(ReplayBuffer):
    """Steps of walks, with AMC's two treatments of their rewards.

    Args:
        baseline: weight of the past in the moving average of the sampled rewards that is subtracted from them, as in
            AMC's official code; 1 for none.
        credit: `copied` gives a walk's terminal reward to each of its steps; `terminal` leaves it on the last.
    """

    def __init__(
        self, *args: Any, baseline: float = 0.5, credit: Literal["copied", "terminal"] = "copied", **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self._baseline, self._credit = baseline, credit
        self._steps = 0
        self._average: float | None = None

    def add(
        self,
        obs: NDArray,
        next_obs: NDArray,
        action: NDArray,
        reward: NDArray,
        done: NDArray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Adds a step; when it ends a walk, the walk's steps before it are given its reward."""
        place = self.pos
        super().add(obs, next_obs, action, reward, done, infos)
        self._steps += 1
        if not done.all():
            return
        if self._credit == "copied":
            self.rewards[(place - np.arange(self._steps)) % self.buffer_size] = reward
        self._steps = 0

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Steps by lot, their rewards less the moving average (this batch included)."""
        samples = super().sample(batch_size, env)
        if self._baseline == 1:
            return samples
        mean = float(samples.rewards.mean())
        past = mean if self._average is None else self._average
        self._average = self._baseline * past + (1 - self._baseline) * mean
        return samples._replace(rewards=samples.rewards - self._average)
