"""A deep Q-network of stable-baselines3 whose learning goes on from one environment to the next."""

from typing import Any

from stable_baselines3 import DQN

from bench.seeding import use_threads

__all__ = ["PatientDQN"]


class PatientDQN(DQN):
    """DQN (Mnih et al. 2015) that may be given further environments (`set_env`): what it knows stays.

    stable-baselines3 begins to explore anew at each call of `learn`; here random actions become fewer over steps that
    are counted through.

    Args:
        exploring: steps over which the share of random actions falls from 1 to `exploration_final_eps`, linearly.
        settings: of `stable_baselines3.DQN`.
    """

    def __init__(self, *args: Any, exploring: int, **settings: Any) -> None:
        self._exploring = exploring
        super().__init__(*args, **settings)
        self.exploration_rate = 1.0

    def learn(self, total_timesteps: int, **settings: Any) -> "PatientDQN":
        """Walks so many steps more."""
        return super().learn(total_timesteps, **{"reset_num_timesteps": False, **settings})

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Learns, in one thread: the network is too small for more, whatever the track gives the pruned one."""
        with use_threads(1, "cpu"):
            super().train(gradient_steps, batch_size)

    def _on_step(self) -> None:
        super()._on_step()
        least = self.exploration_final_eps
        self.exploration_rate = max(least, 1 - (1 - least) * self.num_timesteps / max(1, self._exploring))
