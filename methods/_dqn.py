"""A deep Q-network whose decisions are told their rewards later, on stable-baselines3.

Pruning decisions are made one after another and judged together, after training went on. So the loop is the method's,
and this is the agent alone: it acts, is told what came of it, and learns.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Agent", "Observations"]

Observations = NDArray[np.float32]
_MEMORY = 10_000
_BATCH = 32


class Agent:
    """DQN (Mnih et al. 2015): replay, a target network, epsilon-greedy. It lives on the CPU.

    stable-baselines3 draws from the global generators and reseeds them; here they are put back after each use, so that
    what the agent does depends on its seed and on what it was told, and on nothing else.

    Args:
        features: length of an observation.
        actions: how many there are.
        seed: of everything that the agent draws.
        gamma: discount from a decision to the next.
        epsilon: share of random actions in the end; 1 at first.
        exploring: calls of `learn` over which it falls, linearly.
    """

    def __init__(
        self, features: int, actions: int, *, seed: int, gamma: float, epsilon: float, exploring: float
    ) -> None:
        import gymnasium  # with stable-baselines3 it takes seconds, and only who runs an agent needs it
        from gymnasium.spaces import Box, Discrete
        from stable_baselines3 import DQN
        from stable_baselines3.common.logger import Logger

        class Spaces(gymnasium.Env):
            """What is observed and done; nothing is stepped here."""

            observation_space = Box(-np.inf, np.inf, (features,), np.float32)
            action_space = Discrete(actions)

        self._seed, self._uses = seed, 0
        with self._own_generators():
            self._network = DQN(
                "MlpPolicy", Spaces(), gamma=gamma, buffer_size=_MEMORY, batch_size=_BATCH, seed=seed, device="cpu"
            )
        self._network.set_logger(Logger(None, []))
        self._lots = np.random.default_rng(seed)
        self._least, self._exploring, self._learnt = epsilon, exploring, 0

    @property
    def epsilon(self) -> float:
        """Share of random actions now."""
        return max(self._least, 1 - (1 - self._least) * self._learnt / self._exploring)

    def values(self, observation: Observations) -> NDArray[np.float32]:
        """The expected discounted reward of each action, [actions], at an observation [features]."""
        with torch.no_grad():
            found: NDArray[np.float32] = self._network.q_net(torch.from_numpy(observation)[None])[0].numpy()
        return found

    def act(self, observation: Observations, allowed: Sequence[int]) -> int:
        """An action that is allowed: any with probability `epsilon`, else the best, the first among equals."""
        if self._lots.random() < self.epsilon:
            return int(self._lots.choice(allowed))
        values = self.values(observation)
        return max(allowed, key=lambda action: values[action])

    def remember(
        self, observations: Sequence[Observations], actions: Sequence[int], reward: float, ended: bool
    ) -> None:
        """Keeps decisions that share a reward.

        Args:
            observations: one before each decision, and the one after the last.
            actions: as many as there are decisions.
            reward: of each of them.
            ended: nothing comes after the last decision.
        """
        memory = self._network.replay_buffer
        for number, action in enumerate(actions):
            over = ended and number == len(actions) - 1
            before, after = observations[number], observations[number + 1]
            memory.add(before, after, np.array([action]), np.array([reward]), np.array([over]), [{}])

    def learn(self, updates: int) -> None:
        """So many gradient steps on batches of what is remembered; then the target network follows."""
        with self._own_generators():
            self._network.train(updates, _BATCH)
        self._learnt += 1
        self._network.q_net_target.load_state_dict(self._network.q_net.state_dict())

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what stable-baselines3 draws from
        self._uses += 1
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            np.random.seed((self._seed + self._uses) % 2**32)  # noqa: NPY002
            torch.manual_seed(self._seed + self._uses)
            try:
                yield
            finally:
                random.setstate(python)
                np.random.set_state(numpy)  # noqa: NPY002
