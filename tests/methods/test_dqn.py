"""The agent: what it may do, what it learns, and that it depends on its seed alone."""

import random

import numpy as np
import pytest
import torch

from bench.methods._dqn import Agent, Observations

HERE, THERE = np.array([1.0, 0.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32)


def taught(seed: int = 0, rounds: int = 10, epsilon: float = 0.0) -> Agent:
    """Of three actions the second is good here, the third there."""
    agent = Agent(2, 3, seed=seed, gamma=0.9, epsilon=epsilon, exploring=1)
    for _ in range(rounds):
        for place, good in ((HERE, 1), (THERE, 2)):
            for action in range(3):
                agent.remember([place, place], [action], float(action == good), ended=True)
        agent.learn(50)
    return agent


def test_it_learns_which_action_is_good_where() -> None:
    agent = taught()
    assert agent.act(HERE, range(3)) == 1
    assert agent.act(THERE, range(3)) == 2
    assert agent.values(HERE) == pytest.approx([0, 1, 0], abs=0.25)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_it_does_only_what_is_allowed(epsilon: float) -> None:
    agent = taught(rounds=2, epsilon=epsilon)
    done = {agent.act(HERE, [0, 2]) for _ in range(50)}
    assert done == {0, 2} if epsilon else len(done) == 1 and done < {0, 2}


def test_random_actions_become_fewer_as_it_learns() -> None:
    agent = Agent(2, 3, seed=0, gamma=0.9, epsilon=0.1, exploring=3)
    agent.remember([HERE, THERE], [0], 1.0, ended=True)
    seen = [agent.epsilon]
    for _ in range(5):
        agent.learn(1)
        seen.append(agent.epsilon)
    assert seen == pytest.approx([1.0, 0.7, 0.4, 0.1, 0.1, 0.1])


def test_a_later_reward_reaches_the_decision_before_it_discounted() -> None:
    agent = Agent(2, 2, seed=0, gamma=0.5, epsilon=0.0, exploring=1)
    for _ in range(30):
        for action in range(2):
            agent.remember([HERE, THERE], [action], 0.0, ended=False)
            agent.remember([THERE, THERE], [action], 1.0, ended=True)
        agent.learn(30)
    assert agent.values(THERE) == pytest.approx([1, 1], abs=0.1)
    assert agent.values(HERE) == pytest.approx([0.5, 0.5], abs=0.1)


def decided(agent: Agent) -> tuple[list[int], list[float]]:
    places: list[Observations] = [HERE, THERE] * 10
    return [agent.act(place, range(3)) for place in places], agent.values(HERE).tolist()


def test_the_same_seed_decides_the_same_whatever_the_global_generators_are() -> None:
    first = decided(taught(5, 2, 0.5))
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    random.seed(99)
    assert decided(taught(5, 2, 0.5)) == first
    assert decided(taught(6, 2, 0.5)) != first


def test_the_global_generators_are_as_before() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    taught(rounds=1)
    seen = torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    assert seen == (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
