"""`random-search`: the walks of `accuracy-rl` and `entropy-rl` with actions by lot."""

from typing import Literal

from pydantic import Field

from bench.methods._amc import AMC, AMCConfig


class RandomSearchConfig(AMCConfig):
    """Settings of `random-search`: those of `accuracy-rl`, with another agent."""

    agent: Literal["ddpg", "uniform"] = Field("uniform", description="ddpg: accuracy-rl, or entropy-rl by its reward")


class RandomSearch(AMC):
    """The best of as many walks as an agent would have made, with uniform actions: what a search adds without learning.

    The same environment, bounds, evaluations and reward as `accuracy-rl` (`reward=entropy`: as `entropy-rl`). What an
    agent adds is its result minus this one's, whatever the sign: a bounded walk with the best of many is a strong
    search by itself (Li and Talwalkar 2019, on architecture search). It is no stand-in for methods with another loop:
    `cluster-rl` and `id-rl` have `agent=uniform` of their own.
    """

    name = "random-search"
    reference = "baseline: AMC's walk with uniform actions; Li and Talwalkar 2019, arXiv 1902.07638, on why"
    Config = RandomSearchConfig
