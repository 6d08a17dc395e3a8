"""`magnitude`: the smallest weights go, little by little (Zhu and Gupta 2017)."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from bench import Config, Hook, Method, Step, Trial


class MagnitudeConfig(Config):
    """Settings of `magnitude`."""

    scope: Literal["global", "uniform"] = Field(
        "global", description="global: one threshold over all layers; uniform: the same share of every layer"
    )
    steps: int = Field(50, ge=1, description="how many times weights are cut; 1: all at once, before any training")
    gradual: float = Field(0.5, gt=0, lt=1, description="share of the pruning budget over which cuts are spread")


def ratio_at(cut: float, cuts: float, final: float) -> float:
    """Share of the parameters left after `cut` of `cuts` cuts (Zhu and Gupta, equation 1, from a dense network).

    There it is the sparsity, s = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3, with s_i = 0.
    """
    return final + (1 - final) * (1 - cut / cuts) ** 3


@dataclass
class Cutting(Hook):
    """Cuts at evenly spaced steps of one training call.

    Attributes:
        trial: whose weights are cut.
        done: cuts so far.
    """

    trial: "Trial[MagnitudeConfig]"
    done: int = 0

    def before_step(self, step: Step) -> None:
        """The next cut, when it is due; the last one is made after the training, by `Magnitude.prune`."""
        steps = self.trial.config.steps
        due = min(int(step.progress * steps + 1e-9), steps - 1)
        if due > self.done:
            self.done = due
            cut(self.trial, due)


def cut(trial: Trial[MagnitudeConfig], number: int) -> None:
    """Masks the smallest weights, so that what the schedule says for this cut is left."""
    config = trial.config
    ratio = ratio_at(number, config.steps, trial.target.ratio or 0.0)
    sizes = {name: trial.network.get_parameter(name).detach().abs() for name in trial.surgery.weights.masks}
    trial.surgery.weights.set(trial.surgery.fit_weights(sizes, ratio, config.scope))


class Magnitude(Method):
    """Masks the smallest weights and biases in growing numbers while the network trains, then fine-tunes.

    Source: Zhu, Gupta, "To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression", 2017.

    Deviations: one threshold over all layers instead of the same share of every layer (`scope=uniform`), which is the
    stronger baseline of later work; biases are cut like weights, since they count in the size.
    """

    name = "magnitude"
    reference = "Zhu and Gupta 2017, arXiv 1710.01878"
    kind = "unstructured"
    Config = MagnitudeConfig

    def prune(self, trial: Trial[MagnitudeConfig]) -> None:
        """Cuts while training along the cubic schedule, lands on the target, leaves the rest to fine-tuning."""
        if trial.config.steps > 1:
            trial.train(share=trial.config.gradual, hooks=[Cutting(trial)])
        cut(trial, trial.config.steps)
