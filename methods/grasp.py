"""`grasp`: the weights that the gradient's flow needs stay, chosen before training (Wang et al. 2020)."""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bench import Config, Method, Trial

_COST = 12  # of an image, in forward passes: 3 for the gradient, 9 for the Hessian's product with it


class GraSPConfig(Config):
    """Settings of `grasp`."""

    images_per_class: int = Field(
        10, ge=1, description="training images, by class on average, at most; the authors' 10"
    )
    temperature: float = Field(200.0, gt=0, description="what the outputs are divided by; the authors' 200")


class GraSP(Method):
    """Masks the weights whose removal lowers the gradient's norm least, before training; then trains what is left.

    Source: Wang, Zhang, Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020,
    equation 8: the score of removing w is -w (H g), and the weights with the highest scores go.

    Deviations: the images are the first of the training split, whose order is mixed by class, instead of the same
    number of each, and fewer where the search's share does not pay for them. BatchNorm normalises by the batch, as in
    training. Biases, which the authors leave alone, are kept; they count in the size.
    """

    name = "grasp"
    reference = "Wang et al. 2020, arXiv 2002.07376"
    kind = "unstructured"
    starts = "untrained"
    Config = GraSPConfig

    def prune(self, trial: Trial[GraSPConfig]) -> None:
        """Takes the gradient, then the Hessian's product with it; the whole budget then goes to training."""
        images = min(trial.config.images_per_class * trial.classes, trial.sizes.train)
        while images > 1 and not trial.affordable(_COST * images, recalibrate=False):
            images //= 2
        temperature = trial.config.temperature

        def loss(_network: nn.Module, outputs: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(outputs / temperature, labels)

        flow = trial.gradients(images, loss, batch_statistics=True)
        product = trial.gradients(images, loss, batch_statistics=True, direction=flow)
        scores = {}
        for name, mask in trial.surgery.weights.masks.items():
            weights = trial.network.get_parameter(name).detach().cpu()
            scores[name] = weights * product[name] if mask.dim() > 1 else torch.full_like(weights, torch.inf)
        trial.surgery.weights.set(trial.surgery.fit_weights(scores))
