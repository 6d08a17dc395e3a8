"""Puts a tensor of another shape in a parameter's or buffer's place, and brings module attributes in line.

The module objects stay: optimisers, hooks and references to them go on working.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

__all__ = [
    "MADE_OF",
    "Places",
    "fit_attributes",
    "keep_groups",
    "lower_attribute",
    "replace_tensor",
    "resized_attributes",
    "set_attribute",
]

MADE_OF = ("weight_v", "weight_orig")
"""Parameters from which a hook of `nn.utils.weight_norm` or `nn.utils.spectral_norm` computes a layer's weight."""

_RESIZED = "_resized_attributes"
"""Where a module remembers which of its numbers a removal changed, so that a file can hold them."""


class Places:
    """Where each parameter and buffer of a network hangs: one tensor may hang in several modules."""

    def __init__(self, network: nn.Module) -> None:
        self._found: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
        self._layers: dict[nn.Module, nn.Module] = {}
        for module in network.modules():
            for each in getattr(module, "parametrizations", nn.ModuleDict()).values():
                self._layers[each] = module
            for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
                if tensor is not None:
                    self._found[id(tensor)].append((module, name))

    def of(self, tensor: Tensor) -> list[tuple[nn.Module, str]]:
        """The modules that hold a tensor, and under which name."""
        return self._found[id(tensor)]

    def layer_of(self, module: nn.Module) -> nn.Module:
        """The layer that a module's tensors make: itself, or the one whose weight it parametrises."""
        return self._layers.get(module, module)


def replace_tensor(places: Places, old: Tensor, tensor: Tensor) -> None:
    """Replaces a parameter or buffer; device, dtype, `requires_grad` and memory format stay as they were.

    A parameter's gradient is dropped. Attributes such as `out_channels` are `fit_attributes`'s business.
    """
    new = tensor.detach().to(old.device, old.dtype)
    if old.dim() == 4 and not old.is_contiguous() and old.is_contiguous(memory_format=torch.channels_last):
        new = new.contiguous(memory_format=torch.channels_last)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    for module, name in places.of(old):
        setattr(module, name, new)
        if name in module._non_persistent_buffers_set:
            remember(module, name)


def fit_attributes(module: nn.Module) -> None:
    """Sets a layer's `out_channels`, `num_features`, `groups` and the like from its tensors' shapes."""
    if any(name in module._parameters for name in MADE_OF):
        _compute_weight(module)
    match module:
        case nn.modules.conv._ConvTransposeNd():
            rows, columns = module.weight.shape[:2]
            if _go_whole(module):
                module.groups = rows // (module.in_channels // module.groups)
            module.in_channels, module.out_channels = rows, columns * module.groups
        case nn.modules.conv._ConvNd():
            rows, columns = module.weight.shape[:2]
            if _go_whole(module):
                module.groups = rows // (module.out_channels // module.groups)
            module.in_channels, module.out_channels = columns * module.groups, rows
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.GroupNorm() if module.weight is not None and len(module.weight) != module.num_channels:
            module.num_groups = len(module.weight) * module.num_groups // module.num_channels
            module.num_channels = len(module.weight)
        case nn.modules.batchnorm._NormBase():
            channels = module.running_mean if module.weight is None else module.weight
            if channels is not None:
                module.num_features = channels.shape[0]
        case nn.PReLU():
            module.num_parameters = module.weight.shape[0]
        case _:
            pass  # other modules' tensors come with no number, or with one that tracing found


@torch.no_grad()
def _compute_weight(module: nn.Module) -> None:
    """Has a layer's hook compute its weight anew, which is of the shape before."""
    for hook in module._forward_pre_hooks.values():
        match hook:
            case WeightNorm():
                setattr(module, hook.name, hook.compute_weight(module))
            case SpectralNorm():
                setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=False))


def _go_whole(module: nn.modules.conv._ConvNd) -> bool:
    """Whether the convolution's groups are its channels, as far as its numbers tell: where no removal has said so."""
    alike = module.groups > 1 and module.groups in (module.in_channels, module.out_channels)
    return alike and "groups" not in getattr(module, _RESIZED, ())


def keep_groups(module: nn.Module, rows: int, kept: Tensor | None) -> None:
    """Sets a convolution's groups to those that still have a channel, and remembers them: shapes alone do not tell.

    Args:
        module: the layer; another than a grouped convolution is left alone.
        rows: of its weight before (outputs, or inputs of a transposed convolution).
        kept: the rows that stay; None for all.
    """
    if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1:
        left = module.groups if kept is None else len((kept // (rows // module.groups)).unique())
        set_attribute(module, "groups", left)


def lower_attribute(module: nn.Module, name: str, item: int | None, lost: int) -> None:
    """Lowers a number of a module, or of a list or tuple in it, and remembers that it was changed."""
    value = getattr(module, name)
    if item is None:
        set_attribute(module, name, value - lost)
    else:
        items = [each - lost if place == item else each for place, each in enumerate(value)]
        set_attribute(module, name, _like(value, items))


def set_attribute(module: nn.Module, name: str, value: Any) -> None:
    """Sets a module's number, and remembers that it was changed."""
    setattr(module, name, value)
    remember(module, name)


def remember(module: nn.Module, name: str) -> None:
    """Notes that a number, or a buffer that no state dictionary has, was changed."""
    setattr(module, _RESIZED, tuple(dict.fromkeys((*getattr(module, _RESIZED, ()), name))))


def resized_attributes(network: nn.Module) -> Mapping[str, Any]:
    """What removals changed that no state dictionary has, `path.name` -> whole number, list, tuple or buffer."""
    return {
        f"{path}.{name}" if path else name: getattr(module, name)
        for path, module in network.named_modules()
        for name in getattr(module, _RESIZED, ())
    }


def _like(value: Any, items: list[int]) -> Any:
    if isinstance(value, list):
        return items
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
