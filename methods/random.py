"""`random`: the control that removes channels by lot."""

import torch

from bench import Control, Trial


class Random(Control):
    """Random channels at the same widths as `l1`: what any criterion has to beat."""

    name = "random"
    reference = "control: random channels; Mittal et al. 2018, arXiv 1801.10447, on why it must be there"

    def prune(self, trial: Trial) -> None:
        """Removes channels drawn uniformly, the same share in every group."""
        lots = {group.name: torch.rand(group.width, generator=trial.rng) for group in trial.surgery.groups}
        trial.surgery.remove(trial.surgery.fit(lots))
