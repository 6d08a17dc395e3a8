"""`random-erk`: the control that masks weights by lot, with densities by layer (Evci et al. 2020; Liu et al. 2022)."""

import torch

from bench import Control, Trial
from bench.methods._erk import erk_for


class RandomERK(Control):
    """Random weights at the layerwise densities of Erdos-Renyi-kernel: the fair lot at high sparsity.

    Source: Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery", ICML 2020, section 3, for the densities; Liu et
    al., "The Unreasonable Effectiveness of Random Pruning", ICLR 2022, for its use as a baseline. `random-weights`
    draws one lot over the whole network, which starves thin layers. Biases are kept; they count in the size.
    """

    name = "random-erk"
    reference = "control: random weights with densities of Evci et al. 2020, arXiv 1911.11134"
    kind = "unstructured"

    def prune(self, trial: Trial) -> None:
        """Masks weights drawn uniformly within each layer; the whole budget goes to fine-tuning."""
        masks = trial.surgery.weights.masks
        chosen = {}
        for name, count in erk_for(trial).items():
            mask = torch.zeros(masks[name].numel(), dtype=torch.bool)
            mask[torch.randperm(len(mask), generator=trial.rng)[:count]] = True
            chosen[name] = mask.view(masks[name].shape)
        trial.surgery.weights.set(chosen)
