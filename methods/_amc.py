"""What `entropy-rl`, `accuracy-rl`, `cluster-rl` and `random-search` share: a search over walks, within the budget.

AMC (He et al. 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices") lets a DDPG agent choose
how much of each layer stays, with one reward at the end of a walk through the layers. Here every walk is tried by
masks in place, with BatchNorm statistics collected anew on the same images for all, and lands on the target.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from pydantic import Field

from bench import BudgetSpent, Method, Trial, rl
from bench.methods._entropy import EntropySettings, NetworkEntropy

__all__ = ["AMC", "AMCConfig", "SearchConfig", "WalkSearch", "reward_images"]

Value = Callable[[rl.Walk | None], float]
Reward = Callable[[rl.Walk], float]


class SearchConfig(rl.DDPGSettings):
    """Settings of a search over walks."""

    episodes: int = Field(400, ge=1, description="walks at most: the budget may allow fewer")
    images: int = Field(1000, ge=1, description="images a reward, at most: all of the validation images if more")
    recalibration: int = Field(1024, ge=32, description="images of BatchNorm's fresh statistics a reward, at most")
    room: int = Field(200, ge=1, description="walks to make room for, by fewer images a reward")
    agent: Literal["ddpg", "uniform"] = Field("ddpg", description="uniform: actions by lot, what an agent must beat")


class AMCConfig(SearchConfig, EntropySettings):
    """Settings of AMC's walk: shares to keep, bounded so that every walk lands on the target."""

    reward: Literal["accuracy", "entropy"] = Field("accuracy", description="what a masked network is worth")
    lower: float = Field(0.2, gt=0, le=1, description="share of its channels that every group keeps at the least")


class WalkSearch(Method):
    """A method that tries walks by masks in place, an agent choosing them, and removes what the best one would."""

    def value(self, trial: Trial, images: int, recalibration: int) -> Value:
        """What the network is worth as it is masked by a walk, and for None without masks, which is asked first.

        Accuracy on validation images, without fine-tuning: AMC's resource-constrained reward.
        """
        return lambda walk: trial.evaluate(images, recalibrate=recalibration).top1

    def search(self, trial: Trial, environment: Callable[[Reward], rl.PruningEnv]) -> rl.Walk | None:
        """The best of as many walks as the settings and the search's share of the budget allow; None without any.

        The dense network is valued first, which also tells what a walk costs, in either of the budget's units.
        """
        config, ledger = trial.config, trial.ledger
        before = ledger.search_left
        try:
            value = self.value(trial, *reward_images(trial))
            dense = value(None)
        except BudgetSpent:
            return None
        price, episodes = before - ledger.search_left, config.episodes
        if price > 0:
            episodes = min(episodes, int(ledger.search_left / price + 1e-9))
        if not episodes:
            return None
        trial.log(reward_dense=dense)

        def reward(walk: rl.Walk) -> float:
            with trial.surgery.masked(walk.keep):
                return value(walk)

        uniform = config.agent == "uniform"
        make = rl.UniformAgent if uniform else lambda env, seed: rl.ddpg(env, seed, episodes, config)
        warmup = 0 if uniform else round(config.warmup * episodes)
        return rl.learn(environment(reward), make, episodes, trial.rng, warmup).best


class AMC(WalkSearch):
    """An agent decides how much of each channel group stays; norms decide which channels."""

    Config = AMCConfig

    def prune(self, trial: Trial) -> None:
        """Lets the agent walk, then removes what the best walk would; the track's fine-tuning follows."""
        # 1. the channels in the order in which they go, whatever the agent says; a target out of reach is refused here
        norms = {g.name: g.norms().detach() for g in trial.surgery.groups}
        even = trial.surgery.fit(norms)
        # 2. the agent walks: a share a group, bounded so that every walk lands on the target, one reward at the end
        walk = partial(rl.PruningEnv, trial, lower=trial.config.lower, ranking=lambda actions: norms)
        best = self.search(trial, walk)
        # 3. the best walk, for good; the same share of every group where the budget allowed none
        trial.surgery.remove(even if best is None else best.keep)

    def value(self, trial: Trial, images: int, recalibration: int) -> Value:
        """Accuracy, or minus the entropy as a share of the dense network's."""
        if trial.config.reward == "entropy":
            return NetworkEntropy(trial, images, recalibration).reward
        return super().value(trial, images, recalibration)


def reward_images(trial: Trial) -> tuple[int, int]:
    """Images a reward, and for BatchNorm's statistics: fewer than wanted where that makes room for more walks."""
    config, price = trial.config, trial.price(1, recalibrate=False)
    wanted, recalibration = min(config.images, trial.sizes.validation), min(config.recalibration, trial.sizes.train)
    if not price:
        return wanted, recalibration
    affordable = int(trial.ledger.search_left / price / (config.room + 1))
    if trial.price(1) > price:
        # a third for the statistics, or what the images leave; below 32 they are noise, and fewer hardly cheaper
        recalibration = min(recalibration, max(32, affordable // 3, affordable - wanted))
        affordable = max(recalibration, affordable - recalibration)
    return max(1, min(wanted, affordable)), recalibration
