"""`random-weights`: the control that masks weights by lot."""

import torch

from bench import Control, Trial


class RandomWeights(Control):
    """Random weights and biases, one lot over the whole network: what any unstructured criterion has to beat."""

    name = "random-weights"
    reference = "control: random weights"
    kind = "unstructured"

    def prune(self, trial: Trial) -> None:
        """Masks weights drawn uniformly; the whole budget goes to fine-tuning."""
        masks = trial.surgery.weights.masks
        lots = {name: torch.rand(mask.shape, generator=trial.rng).to(trial.device) for name, mask in masks.items()}
        trial.surgery.weights.set(trial.surgery.fit_weights(lots))
