"""An optimiser's state by parameter name, so that it outlives a training call and follows surgery."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.specs.track import Recipe

__all__ = ["Optimiser"]


@dataclass
class Optimiser:
    """An optimiser's state by parameter name, so that it outlives a `train` call and can be sliced by surgery.

    Attributes:
        state: tensors by parameter name and then by the optimiser's own key (`momentum_buffer`, `exp_avg`, ...).
    """

    state: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def make(self, network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        """An optimiser over the network's parameters that goes on from the kept state."""
        named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for _, p in named if p.dim() >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for _, p in named if p.dim() < 2], "weight_decay": 0.0},
        ]
        made: torch.optim.Optimizer
        if recipe.optimiser == "sgd":
            nesterov = recipe.momentum > 0
            made = torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=nesterov, fused=True)
        else:
            made = torch.optim.Adam(groups, recipe.learning_rate, fused=True)
        self.put_into(made, network)
        return made

    def put_into(self, made: torch.optim.Optimizer, network: nn.Module) -> None:
        """Sets the state of an optimiser over the network's parameters; fused kernels need it in their layout."""
        made.state.clear()
        for name, parameter in network.named_parameters():
            if name in self.state:
                kept = self.state[name].items()
                made.state[parameter] = {
                    key: torch.empty_like(parameter).copy_(value) if value.dim() else value.clone()
                    for key, value in kept
                }

    def keep(self, network: nn.Module, made: torch.optim.Optimizer) -> None:
        """Takes over the state of an optimiser that `make` gave."""
        self.state = {
            name: {key: value.detach().clone() for key, value in made.state[parameter].items() if value is not None}
            for name, parameter in network.named_parameters()
            if parameter in made.state
        }

    def slice(self, by: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> None:
        """Follows a removal: tensors of a parameter's shape (momenta) are sliced with it, counters stay.

        Args:
            by: from tensors of the parameters' old shapes, by parameter name, to those of the new shapes.
        """
        for key in {key for state in self.state.values() for key in state}:
            shaped = {name: state[key] for name, state in self.state.items() if key in state and state[key].dim()}
            for name, tensor in by(shaped).items():
                self.state[name][key] = tensor
