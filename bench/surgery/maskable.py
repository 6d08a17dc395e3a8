"""Which parameters an unstructured mask covers, and why it leaves the others alone.

Covered is every parameter of two dimensions or more, wherever it is: convolutions, linear and recurrent layers,
attention's `in_proj_weight`, embeddings, bare parameters, and what a parametrised weight is computed from. With it go
the biases of the same module, which count in the size as weights do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

__all__ = ["Coverage", "coverage", "largest_of_slices", "slices"]


@dataclass(frozen=True)
class Coverage:
    """What masks cover of a network.

    Attributes:
        covered: names of parameters, in the network's order.
        left_out: name -> why it has no mask, for all the others.
        directions: name -> the dimension of those covered that weight normalisation divides by their norm, slice by
            slice along it (-1: as one slice). Without any weight in a slice the network's outputs would be NaN.
    """

    covered: tuple[str, ...]
    left_out: Mapping[str, str]
    directions: Mapping[str, int]


def coverage(network: nn.Module) -> Coverage:
    """What masks cover of `network` by default."""
    covered: list[str] = []
    left_out: dict[str, str] = {}
    directions: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        path, _, attribute = name.rpartition(".")
        module = network.get_submodule(path)
        if not parameter.is_floating_point():
            left_out[name] = f"not floating-point, in {type(module).__name__}"
        elif parameter.dim() >= 2 or _is_layers_own(module, attribute):
            covered.append(name)
            dimension = _norm_dimension(module, attribute)
            if dimension is not None:
                directions[name] = dimension
        else:
            left_out[name] = f"of one dimension, in {type(module).__name__}"
    return Coverage(tuple(covered), left_out, directions)


def _is_layers_own(module: nn.Module, attribute: str) -> bool:
    """Whether a parameter of one dimension goes with the module's weights."""
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        return True
    has_weights = is_parametrized(module) or any(p.dim() >= 2 for p in module.parameters(recurse=False))
    return has_weights and "bias" in attribute


def _norm_dimension(module: nn.Module, attribute: str) -> int | None:
    """The dimension along which slices of this parameter are divided by their norm, if any are."""
    if isinstance(module, ParametrizationList) and attribute == "original1":
        normed: list[Any] = [each for each in module if type(each).__name__ == "_WeightNorm"]
        return int(normed[0].dim) if normed else None
    hooks: list[Any] = list(module._forward_pre_hooks.values())
    for hook in hooks:
        if (
            type(hook).__name__ == "WeightNorm" and attribute == f"{hook.name}_v"
        ):  # the older torch.nn.utils.weight_norm
            return int(hook.dim)
    return None


def slices(tensor: Tensor, dimension: int) -> Tensor:
    """The tensor as [slices along `dimension`, entries]; the whole of it is one slice where that is -1."""
    return tensor.reshape(1, -1) if dimension < 0 else tensor.movedim(dimension, 0).flatten(1)


def largest_of_slices(scores: Tensor, dimension: int) -> Tensor:
    """A mask over the highest score of every slice along `dimension` (-1: of the whole tensor)."""
    places = torch.arange(scores.numel(), device=scores.device).view(scores.shape)
    largest = slices(scores, dimension).argmax(1, keepdim=True)
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[slices(places, dimension).gather(1, largest)] = True
    return mask.view(scores.shape)
