"""`lamp`: magnitudes scaled by what is left of their layer, one threshold over all (Lee et al. 2021)."""

import torch
from torch import Tensor

from bench import Method, Trial


def lamp_scores(weights: Tensor) -> Tensor:
    """w^2 over the sum of v^2 of all v in the layer that are not smaller than w, of the weights' shape (equation 4).

    Of weights of equal magnitude the first counts as the smaller one, as in the paper's sorted order.
    """
    squares = weights.detach().double().pow(2).flatten()
    order = squares.argsort(stable=True)
    not_smaller = squares[order].flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = squares[order] / not_smaller.clamp(min=torch.finfo(torch.float64).tiny)
    return scores.view(weights.shape)


class Lamp(Method):
    """Masks the weights with the smallest layer-adaptive magnitude in one shot, then fine-tunes.

    Source: Lee, Park, Mo, Ahn, Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, section 3.

    The largest weight of each layer has the score 1, so that no layer is emptied. Deviations: one shot where the paper
    prunes in rounds with training between them (`imp` does rounds). Biases, which the paper does not mention, are
    kept; they count in the size.
    """

    name = "lamp"
    reference = "Lee et al. 2021, arXiv 2010.07611"
    kind = "unstructured"

    def prune(self, trial: Trial) -> None:
        """Scores each layer by itself, and draws one threshold over all scores."""
        scores = {}
        for name in trial.surgery.weights.masks:
            weights = trial.network.get_parameter(name)
            scores[name] = lamp_scores(weights) if weights.dim() > 1 else torch.full_like(weights.double(), torch.inf)
        trial.surgery.weights.set(trial.surgery.fit_weights(scores))
