"""`nm`: of every m weights in a row the n largest stay (2:4 sparsity; Mishra et al. 2021)."""

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bench import Config, Method, Trial


class NMConfig(Config):
    """Settings of `nm`."""

    n: int = Field(2, ge=1, description="weights that stay of every m in a row")
    m: int = Field(4, ge=2, description="weights in a row, along a filter's input channels")

    @model_validator(mode="after")
    def _n_below_m(self) -> "NMConfig":
        if self.n >= self.m:
            raise ValueError(f"n={self.n} of m={self.m} removes nothing: n must be below m")
        return self


def nm_mask(weights: Tensor, n: int, m: int) -> Tensor:
    """Bool of the weights' shape [out, in, ...]: in every m neighbours along the inputs, the n largest magnitudes.

    Rows are the weights of one output at one kernel position, as the hardware reads them. What is left of a row that m
    does not divide stays; of equal magnitudes the first does.
    """
    rows = weights.detach().abs().movedim(1, -1)
    whole = rows.shape[-1] // m * m
    blocks = rows[..., :whole].unflatten(-1, (-1, m)) if whole else rows[..., :0].unflatten(-1, (0, m))
    largest = blocks.argsort(dim=-1, descending=True, stable=True)[..., :n]
    mask = torch.zeros_like(blocks, dtype=torch.bool).scatter_(-1, largest, True).flatten(-2)
    return torch.cat([mask, torch.ones_like(rows[..., whole:], dtype=torch.bool)], -1).movedim(-1, 1)


class NM(Method):
    """Semi-structured: masks the smallest weights of every m in a row in one shot, then fine-tunes in that pattern.

    Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, sections 3 and 4: train dense, prune to 2:4
    by magnitude once, train again.

    The pattern decides the size, so the target is `auto`. Layers with fewer than m inputs, and biases, stay whole.
    Deviation: the paper repeats the dense training's whole schedule; here it is what is left of the budget. No speed
    is claimed: that takes a kernel for the pattern.
    """

    name = "nm"
    reference = "Mishra et al. 2021, arXiv 2104.08378"
    kind = "unstructured"
    targets = "auto"
    Config = NMConfig

    def prune(self, trial: Trial) -> None:
        """Masks each layer's rows, and leaves the rest of the budget to fine-tuning."""
        trial.surgery.weights.set(
            {
                name: nm_mask(trial.network.get_parameter(name), trial.config.n, trial.config.m)
                for name, mask in trial.surgery.weights.masks.items()
                if mask.dim() > 1
            }
        )
