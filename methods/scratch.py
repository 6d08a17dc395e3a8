"""`scratch`: the control that trains the pruned architecture from new."""

from typing import Literal

import torch
from pydantic import Field

from bench import BenchError, Config, Control, Trial


class ScratchConfig(Config):
    """Settings of `scratch`."""

    widths_of: str = Field("", description="a run whose widths to take; empty for those of `l1` at this target")
    budget: Literal["macs", "epochs"] = Field(
        "macs",
        description="macs: trained on the whole budget (Scratch-B); epochs: as often through the training images as "
        "the dense network was, which costs less since the network is smaller (Scratch-E)",
    )


class Scratch(Control):
    """A pruned architecture, re-initialised and trained with the dense network's recipe.

    Source: Liu, Sun, Zhou, Huang, Darrell, "Rethinking the Value of Network Pruning", ICLR 2019, section 3. Their
    Scratch-E trains the small network for the dense network's epochs (`budget=epochs`), their Scratch-B for as much
    compute as the dense network's training took. Deviation: here, with `budget=macs`, it is the whole budget, which
    pruning and fine-tuning are part of, so that no row of a table has had more. What a pruning method adds is its
    accuracy minus this one's at the same widths. By default the widths are those of `l1` at the same target, which
    keeps the same share of every group whatever the weights are.
    """

    name = "scratch"
    reference = "control: Liu et al. 2019, arXiv 1810.05270"
    starts = "untrained"
    finetunes = "itself"
    Config = ScratchConfig

    def prune(self, trial: Trial[ScratchConfig]) -> None:
        """Takes the widths, re-initialises, and trains.

        Raises:
            BenchError: `budget=epochs`, and the dense network came trained, so that nobody knows its epochs.
        """
        by_epochs = trial.config.budget == "epochs"
        if by_epochs and trial.dense_epochs is None:
            raise BenchError(
                "budget=epochs trains as long as the dense network was, and this track takes that one trained from a "
                "file. Use budget=macs."
            )
        if trial.config.widths_of:
            widths = trial.widths_of(trial.config.widths_of)
            keep = {name: torch.arange(width) for name, width in widths.items()}
        else:
            keep = trial.surgery.fit()
        trial.surgery.remove(keep)
        trial.surgery.reinitialise()
        if by_epochs:
            trial.train(epochs=trial.dense_epochs)
        else:
            trial.train(share=1.0)
