"""`imp`: the smallest weights go round by round, with training rewound between (Frankle and Carbin 2019)."""

import math
from typing import Literal

from pydantic import Field

from bench import Config, Method, Trial


class IMPConfig(Config):
    """Settings of `imp`."""

    rate: float = Field(0.2, gt=0, lt=1, description="share of the weights left that goes in a round")
    rounds: int = Field(0, ge=0, description="rounds; 0: as many as the rate asks for, of ten steps or more each")
    rewind: Literal["learning-rate", "initial"] = Field(
        "learning-rate", description="learning-rate: weights go on (Renda et al.); initial: back to where they began"
    )


def round_ratios(final: float, rounds: int) -> list[float]:
    """Share of the parameters left after each round: the same share goes every time, and the last one is `final`."""
    return [final ** (number / rounds) for number in range(1, rounds)] + [final]


def rounds_for(final: float, rate: float) -> int:
    """The rounds of `rate` that come down to `final`: the smallest n with (1 - rate)^n <= final."""
    return max(1, math.ceil(math.log(final) / math.log(1 - rate) - 1e-9))


class IMP(Method):
    """Iterative magnitude pruning: masks the smallest weights, trains with the schedule from its beginning, again.

    Source: Frankle, Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, strategy 1 of appendix B; Renda, Frankle,
    Carbin, "Comparing Rewinding and Fine-tuning in Neural Network Pruning", ICLR 2020, section 2 and algorithm 2, whose
    learning rate rewinding is the default.

    Deviations: the papers train each round as long as the dense network; here the rounds share the pruning budget, and
    the last round's training is the track's fine-tuning. So many rounds fit that each has ten steps; the rate rises
    where fewer do (`rounds` fixes them). Biases, which the papers leave alone, are kept; they count in the size.
    """

    name = "imp"
    reference = "Frankle and Carbin 2019, arXiv 1803.03635; Renda et al. 2020, arXiv 2003.02389"
    kind = "unstructured"
    Config = IMPConfig

    def prune(self, trial: Trial[IMPConfig]) -> None:
        """Masks and trains in rounds; the last round's training is the fine-tuning that follows."""
        ratios = round_ratios(trial.target.ratio or 1.0, self._rounds(trial))
        for number, ratio in enumerate(ratios):
            if number:
                trial.train(share=1 / len(ratios))
            masks = trial.surgery.weights.masks
            sizes = {name: trial.network.get_parameter(name).detach().abs() for name in masks}
            for name, mask in masks.items():
                sizes[name] = sizes[name].masked_fill(~mask, -1.0) if mask.dim() > 1 else sizes[name] + math.inf
            trial.surgery.weights.set(trial.surgery.fit_weights(sizes, ratio))
            if trial.config.rewind == "initial":
                trial.rewind()

    def _rounds(self, trial: Trial[IMPConfig]) -> int:
        config = trial.config
        asked = config.rounds or rounds_for(trial.target.ratio or 1.0, config.rate)
        if config.rounds or trial.ledger.budget.unit != "dense_epochs":
            return asked
        steps = trial.ledger.pruning * trial.sizes.train / trial.batch_size
        return max(1, min(asked, int(steps / 10)))
