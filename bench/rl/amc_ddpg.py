"""AMC's agent: DDPG of stable-baselines3 with truncated normal noise and a learning rate each for actor and critic."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import ActionNoise
from torch.optim import Optimizer

from bench.seeding import use_threads

__all__ = ["AMCDDPG", "truncated_normal"]


class AMCDDPG(DDPG):
    """DDPG (Lillicrap et al. 2016) as AMC uses it (He et al. 2018, section 3.3 and official code).

    After the warm-up, actions are drawn from a normal distribution round the actor's, truncated to the action space,
    whose standard deviation falls by the same factor each episode. stable-baselines3 would clip instead, which piles
    actions up at the ends; and it would give actor and critic one learning rate.

    Args:
        sigma: standard deviation after the warm-up, in actions from 0 to 1.
        decay: factor on it an episode.
        warmup: episodes that are walked at random.
        actor_rate, critic_rate: of Adam.
        settings: of `stable_baselines3.DDPG`.
    """

    def __init__(
        self,
        *args: Any,
        sigma: float,
        decay: float,
        warmup: int,
        actor_rate: float,
        critic_rate: float,
        **settings: Any,
    ) -> None:
        self._sigma, self._decay, self._warmup = sigma, decay, warmup
        self._rates = (actor_rate, critic_rate)
        self._noise = np.random.default_rng(settings.get("seed"))
        super().__init__(*args, **settings)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray, NDArray]:
        action, scaled = super()._sample_action(learning_starts, action_noise, n_envs)
        if self._episode_num < self._warmup:
            return action, scaled
        sigma = 2 * self._sigma * self._decay ** (self._episode_num - self._warmup)  # scaled actions are in [-1, 1]
        scaled = truncated_normal(scaled, sigma, self._noise)
        return self.policy.unscale_action(scaled), scaled

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Learns, in one thread: the networks are too small for more, whatever the track gives the pruned one."""
        with use_threads(1, "cpu"):
            super().train(gradient_steps, batch_size)

    def _update_learning_rate(self, optimizers: list[Optimizer] | Optimizer) -> None:
        assert isinstance(optimizers, list)
        for optimizer, rate in zip(optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate


def truncated_normal(mean: NDArray, sigma: float, generator: np.random.Generator) -> NDArray:
    """Draws from normal distributions round `mean`, in [-1, 1], truncated to that range; float32 of its shape."""
    low, high = ndtr((-1 - mean) / sigma), ndtr((1 - mean) / sigma)
    drawn = mean + sigma * ndtri(low + generator.random(mean.shape) * (high - low))
    return np.clip(drawn, -1, 1).astype(np.float32)
