"""`snip`: the weights whose removal changes the loss least go, once, before any training (Lee et al. 2019)."""

import torch
from pydantic import Field

from bench import Config, Method, Trial


class SNIPConfig(Config):
    """Settings of `snip`."""

    images: int = Field(128, ge=1, description="training images, at most; the paper has a batch of 100 or 128")


class SNIP(Method):
    """Masks the weights of the untrained network with the smallest connection sensitivity |gradient x weight|.

    Source: Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019,
    equation 4. Deviation: biases are kept (their sensitivity is zero before training); they count in the size.
    """

    name = "snip"
    reference = "Lee et al. 2019, arXiv 1810.02340"
    kind = "unstructured"
    starts = "untrained"
    Config = SNIPConfig

    def prune(self, trial: Trial[SNIPConfig]) -> None:
        """Takes one gradient and masks; the whole rest of the budget goes to training."""
        images = min(trial.config.images, trial.sizes.train)
        while images > 1 and not trial.affordable(3 * images, recalibrate=False):
            images //= 2
        gradients = trial.gradients(images, batch_statistics=True, batch=images)
        scores = {}
        for name, mask in trial.surgery.weights.masks.items():
            weight = trial.network.get_parameter(name).detach().cpu()
            scores[name] = (weight * gradients[name]).abs() if mask.dim() > 1 else torch.full_like(weight, torch.inf)
        trial.surgery.weights.set(trial.surgery.fit_weights(scores))
