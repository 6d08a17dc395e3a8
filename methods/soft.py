"""`soft`: filters are set to zero while the network trains, and may come back (SFP; He et al. 2018)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import Config, Hook, Keep, Method, Step, Trial


class SoftConfig(Config):
    """Settings of `soft`."""

    share: float = Field(0.8, gt=0, le=1, description="share of the pruning budget that trains with soft pruning")
    every: float = Field(1.0, gt=0, description="epochs between two prunings; the paper's 1")
    scope: Literal["uniform", "global"] = Field(
        "uniform", description="uniform: the same share of every group, the paper's; global: one threshold over all"
    )


def smallest_off(trial: Trial) -> Keep:
    """The channels whose filters have the largest l2 norms, as many as the target leaves."""
    norms = {
        group.name: torch.stack([w.detach().flatten(1).square().sum(1) for w in group.weights]).sum(0).sqrt()
        for group in trial.surgery.groups
    }
    return trial.surgery.fit(norms, scope=trial.config.scope)


def filter_masks(trial: Trial, keep: Keep) -> dict[str, Tensor]:
    """Weight masks that are false over the filters of the channels outside `keep`, and true elsewhere."""
    masks = {name: torch.ones_like(mask) for name, mask in trial.surgery.weights.masks.items()}
    for group in trial.surgery.groups:
        off = torch.ones(group.width, dtype=torch.bool)
        off[keep[group.name]] = False
        for owned in group.slices:
            if owned.dim == 0 and owned.tensor in masks and owned.tensor.removesuffix(".weight") in group.layers:
                masks[owned.tensor][owned.index[off].flatten().to(masks[owned.tensor].device)] = False
    return masks


class Softly(Hook):
    """Zeroes the smallest filters for the first step of every period; afterwards they train like the others."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._period = max(1, round(trial.config.every * trial.sizes.train / trial.batch_size))

    def before_step(self, step: Step) -> None:
        """Masks hold for one step: they zero the filters, and are taken off before the next."""
        place = step.index % self._period
        if place == 0:
            step.weights.set(filter_masks(self._trial, smallest_off(self._trial)))
        elif place == 1 or step.weights.active:
            step.weights.set({name: torch.ones_like(mask) for name, mask in step.weights.masks.items()})


class Soft(Method):
    """Trains with the smallest filters set to zero after every epoch, then removes those that are smallest at the end.

    Source: He, Kang, Dong, Fu, Yang, "Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks", IJCAI
    2018, section 3.2 and algorithm 1, from a trained network.

    Deviations: the paper ends with the removal; here a fifth of the budget is left to fine-tuning, since removal takes
    the normalisation's shifts with it (`share=1` switches back). The first pruning comes before the first epoch,
    and filters that are zeroed stay so for the step that follows.
    """

    name = "soft"
    reference = "He et al. 2018, arXiv 1808.06866"
    Config = SoftConfig

    def prune(self, trial: Trial) -> None:
        """Trains with soft pruning, then removes for good."""
        trial.train(share=trial.config.share, hooks=[Softly(trial)])
        trial.surgery.weights.set({name: torch.ones_like(mask) for name, mask in trial.surgery.weights.masks.items()})
        trial.surgery.remove(smallest_off(trial))
