"""What `entropy-rl`, `accuracy-rl`, `cluster-rl` and `random-search` share: a search over walks, within the budget.

AMC (He et al. 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices") lets a DDPG agent choose
how much of each layer stays, with one reward at the end of a walk through the layers. Here every walk is tried by
masks in place, with BatchNorm statistics collected anew on the same images for all, and lands on the target.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import BudgetSpent, ChannelGroup, Method, Trial, rl
from bench.methods._entropy import EntropySettings, NetworkEntropy

__all__ = ["AMC", "AMCConfig", "SearchConfig", "WalkSearch", "channel_norms", "reward_images"]

Value = Callable[[rl.Walk | None], float]
Reward = Callable[[rl.Walk], float]


class SearchConfig(rl.DDPGSettings):
    """Settings of a search over walks."""

    episodes: int = Field(400, ge=1, description="walks at most: the budget may allow fewer")
    images: int = Field(1000, ge=1, description="images a reward, at most: all of the validation images if more")
    room: int = Field(
        100, ge=1, description="walks to make room for: rewards take fewer images where budgets are small"
    )
    agent: Literal["ddpg", "uniform"] = Field("ddpg", description="uniform: actions by lot, as random-search")


class AMCConfig(SearchConfig, EntropySettings):
    """Settings of AMC's walk: shares to keep, bounded so that every walk lands on the target."""

    reward: Literal["accuracy", "entropy"] = Field(
        "accuracy", description="of a walk: what its masked network is worth"
    )
    lower: float = Field(0.05, gt=0, le=1, description="share of its channels that every group keeps at the least")
    ranking: Literal["l1", "l2"] = Field("l1", description="norm of a filter: the channels with the smallest go")


class WalkSearch(Method):
    """A method that tries walks by masks in place, an agent choosing them, and removes what the best one would."""

    def value(self, trial: Trial, images: int) -> Value:
        """What the network is worth as it is masked by a walk, and for None without masks, which is asked first.

        Accuracy on validation images, without fine-tuning: AMC's resource-constrained reward.
        """
        return lambda walk: trial.evaluate(images=images).top1

    def search(self, trial: Trial, environment: Callable[[Reward], rl.PruningEnv]) -> rl.Walk | None:
        """The best of as many walks as the settings and the search's share of the budget allow; None without any.

        The dense network is valued first, which also tells what a walk costs, in either of the budget's units.
        """
        config, ledger = trial.config, trial.ledger
        before = ledger.search_left
        try:
            value = self.value(trial, reward_images(trial))
            dense = value(None)
        except BudgetSpent:
            return None
        price = before - ledger.search_left
        affordable = int(ledger.search_left / price + 1e-9) if price > 0 else config.episodes
        episodes = min(config.episodes, affordable)
        if not episodes:
            return None
        best = float("-inf")

        def reward(walk: rl.Walk) -> float:
            nonlocal best
            with trial.surgery.masked(walk.keep):
                found = value(walk)
            best = max(best, found)
            trial.log(episode=len(env.walks) + 1, reward=found, best=best, reward_dense=dense)
            return found

        env = environment(reward)
        if config.agent == "uniform":
            return rl.learn(env, rl.UniformAgent, episodes, trial.rng).best
        return rl.learn(env, lambda env, seed: rl.ddpg(env, seed, episodes, config), episodes, trial.rng).best


class AMC(WalkSearch):
    """An agent decides how much of each channel group stays; norms decide which channels."""

    Config = AMCConfig

    def prune(self, trial: Trial) -> None:
        """Lets the agent walk, then removes what the best walk would; the track's fine-tuning follows."""
        # 1. the channels in the order in which they go, whatever the agent says; a target out of reach is refused here
        norms = channel_norms(trial.surgery.groups, trial.config.ranking)
        even = trial.surgery.fit(norms)
        # 2. the agent walks: a share a group, bounded so that every walk lands on the target, one reward at the end
        best = self.search(
            trial,
            lambda reward: rl.PruningEnv(trial, reward, lower=trial.config.lower, ranking=lambda actions: norms),
        )
        # 3. the best walk, for good; the same share of every group where the budget allowed none
        trial.surgery.remove(even if best is None else best.keep)

    def value(self, trial: Trial, images: int) -> Value:
        """Accuracy, or minus the entropy as a share of the dense network's."""
        if trial.config.reward == "entropy":
            return NetworkEntropy(trial, images).reward
        return super().value(trial, images)


def reward_images(trial: Trial) -> int:
    """Images a reward: as many as are wanted, fewer where that makes room for more walks.

    Fewer than BatchNorm's recalibration takes would hardly be cheaper.
    """
    config = trial.config
    wanted = min(config.images, trial.sizes.validation)
    each = trial.price(1, recalibrate=False)
    if not each:
        return wanted
    recalibration = round(trial.price(1) / each) - 1
    affordable = int(trial.ledger.search_left / each / (config.room + 1)) - recalibration
    return max(1, min(wanted, max(affordable, recalibration)))


def channel_norms(groups: Sequence[ChannelGroup], norm: Literal["l1", "l2"]) -> dict[str, Tensor]:
    """The norm [width] of each channel's filters by group name, summed over tied layers."""
    order = 1 if norm == "l1" else 2
    return {
        group.name: torch.stack([w.detach().flatten(1).norm(order, dim=1) for w in group.weights]).sum(0)
        for group in groups
    }
