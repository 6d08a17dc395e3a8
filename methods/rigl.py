"""`rigl`: sparse from the start; small weights go and those with large gradients come (Evci et al. 2020)."""

import math

import torch
from pydantic import Field
from torch import Tensor

from bench import Config, Hook, Method, Step, Trial
from bench.methods._erk import erk_for


class RigLConfig(Config):
    """Settings of `rigl`."""

    every: int = Field(100, ge=1, description="steps between two updates of the masks (the paper's delta T)")
    alpha: float = Field(0.3, gt=0, lt=1, description="share of a layer's weights that the first update moves")
    until: float = Field(0.75, gt=0, le=1, description="share of the training after which masks stay (T_end)")


def moved_share(alpha: float, progress: float, until: float) -> float:
    """Share of a layer's weights that an update moves: alpha / 2 (1 + cos(pi t / T_end)) (Evci et al., section 3)."""
    return alpha / 2 * (1 + math.cos(math.pi * min(1.0, progress / until)))


def updated_mask(mask: Tensor, weights: Tensor, gradient: Tensor, count: int) -> Tensor:
    """The mask with its `count` smallest weights out, and the `count` weights of largest gradient in.

    As in algorithm 1, those that have just gone may come back.
    """
    count = min(count, int(mask.sum()), int((~mask).sum()))
    new = mask.flatten().clone()
    size = torch.where(new, weights.abs().flatten(), torch.inf)
    new[size.argsort(stable=True)[:count]] = False
    slope = torch.where(new, -1.0, gradient.abs().flatten())
    new[slope.argsort(descending=True, stable=True)[:count]] = True
    return new.view(mask.shape)


class Rigging(Hook):
    """Moves masks every few steps of one training call."""

    def __init__(self, config: RigLConfig) -> None:
        self._config = config

    def _due(self, step: Step) -> bool:
        return step.index > 0 and step.index % self._config.every == 0 and step.progress < self._config.until

    def before_step(self, step: Step) -> None:
        """At an update, gradients of the weights that are off are wanted too."""
        step.weights.straight_through = self._due(step)

    def after_step(self, step: Step) -> None:
        """Drops and grows, layer by layer. A grown weight begins at what this step made of zero."""
        if not self._due(step):
            return
        step.weights.straight_through = False
        share = moved_share(self._config.alpha, step.progress, self._config.until)
        masks = {}
        for name, mask in step.weights.masks.items():
            parameter = step.network.get_parameter(name)
            if mask.dim() > 1 and parameter.grad is not None:
                count = round(share * int(mask.sum()))
                masks[name] = updated_mask(mask, parameter.detach(), parameter.grad, count)
        step.weights.set(masks)
        step.weights.apply_()


class RigL(Method):
    """Trains a sparse network from the start, with the same number of weights in each layer throughout.

    Source: Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3
    and algorithm 1, with Erdos-Renyi-kernel densities.

    Deviations: a step that moves masks trains, too, where the paper's moves masks alone, so that a grown weight begins
    with one step of its gradient instead of at zero. Biases are kept; they count in
    the size. The budget is charged as for a dense network (zeros are not discounted), the paper's savings are not.
    """

    name = "rigl"
    reference = "Evci et al. 2020, arXiv 1911.11134"
    kind = "unstructured"
    starts = "untrained"
    finetunes = "itself"
    Config = RigLConfig

    def prune(self, trial: Trial) -> None:
        """Draws the first masks by lot, and trains on the whole budget while they move."""
        masks = {}
        for name, count in erk_for(trial).items():
            shape = trial.surgery.weights.masks[name].shape
            mask = torch.zeros(math.prod(shape), dtype=torch.bool)
            mask[torch.randperm(len(mask), generator=trial.rng)[:count]] = True
            masks[name] = mask.view(shape)
        trial.surgery.weights.set(masks)
        trial.train(share=1.0, hooks=[Rigging(trial.config)])
