"""`scratch`: the control that trains the pruned architecture from new."""

import torch
from pydantic import Field

from bench import Config, Control, Trial


class ScratchConfig(Config):
    """Settings of `scratch`."""

    widths_of: str = Field("", description="a run whose widths to take; empty for those of `l1` at this target")


class Scratch(Control):
    """A pruned architecture, re-initialised and given the whole budget.

    Source: Liu et al., "Rethinking the Value of Network Pruning", ICLR 2019 (its Scratch-B: the same compute in all).
    What a pruning method adds is its accuracy minus this one's at the same widths. By default the widths are those of
    `l1` at the same target, which keeps the same share of every group whatever the weights are.
    """

    name = "scratch"
    reference = "control: Liu et al. 2019, arXiv 1810.05270"
    starts = "untrained"
    Config = ScratchConfig

    def prune(self, trial: Trial) -> None:
        """Takes the widths and re-initialises; the whole budget goes to training with the dense recipe."""
        if trial.config.widths_of:
            widths = trial.widths_of(trial.config.widths_of)
            keep = {name: torch.arange(width) for name, width in widths.items()}
        else:
            keep = trial.surgery.fit()
        trial.surgery.remove(keep)
        trial.surgery.reinitialise()
