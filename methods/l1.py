"""`l1`: the filters with the smallest l1 norm go, in one shot (Li et al. 2017)."""

from typing import Literal

from pydantic import Field

from bench import Config, Method, Trial


class L1Config(Config):
    """Settings of `l1`."""

    scope: Literal["uniform", "global"] = Field(
        "uniform", description="uniform: the same share of every group; global: one threshold over all groups"
    )
    floor: float = Field(0.1, ge=0, le=1, description="share of each group that stays with scope=global")


class L1(Method):
    """Removes the filters with the smallest l1 norm in one shot, then fine-tunes.

    Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1.

    Deviations: the paper chooses each layer's share by hand from a sensitivity analysis; here every group keeps the
    same share (`scope=uniform`), or one threshold runs over all groups (`scope=global`) and leaves each `floor` of its
    channels. Layers that a residual add ties together lose the same channels, those with the smallest sum of norms.
    """

    name = "l1"
    reference = "Li et al. 2017, arXiv 1608.08710"
    Config = L1Config

    def prune(self, trial: Trial[L1Config]) -> None:
        """Ranks, cuts, and leaves the rest of the budget to fine-tuning."""
        norms = {group.name: group.norms() for group in trial.surgery.groups}
        config: L1Config = trial.config
        trial.surgery.remove(trial.surgery.fit(norms, scope=config.scope, floor=config.floor))
