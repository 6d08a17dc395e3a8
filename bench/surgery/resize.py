"""Puts a tensor of another shape in a parameter's or buffer's place, and brings module attributes in line.

The module objects stay: optimisers, hooks and references to them go on working.
"""

import torch
from torch import Tensor, nn

from bench.errors import SurgeryError

__all__ = ["fit_attributes", "replace_tensor"]


def replace_tensor(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Replaces a parameter or buffer; device, dtype, `requires_grad` and memory format stay as they were.

    A parameter's gradient is dropped. Attributes such as `out_channels` are `fit_attributes`'s business.
    """
    path, _, attribute = name.rpartition(".")
    module = network.get_submodule(path)
    old = getattr(module, attribute)
    new = tensor.detach().to(old.device, old.dtype)
    if old.dim() == 4 and not old.is_contiguous() and old.is_contiguous(memory_format=torch.channels_last):
        new = new.contiguous(memory_format=torch.channels_last)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    setattr(module, attribute, new)


def fit_attributes(name: str, module: nn.Module) -> None:
    """Sets a layer's `out_channels`, `num_features`, `groups` and the like from its tensors' shapes.

    Args:
        name: the layer's name, for the error.
        module: the layer, its tensors replaced.

    Raises:
        SurgeryError: the layer's type is none whose attributes are known.
    """
    match module:
        case nn.Conv2d():
            if module.groups > 1 and module.groups == module.in_channels == module.out_channels:
                module.groups = module.weight.shape[0]
            module.out_channels = module.weight.shape[0]
            module.in_channels = module.weight.shape[1] * module.groups
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.modules.batchnorm._BatchNorm():
            channels = module.running_mean if module.weight is None else module.weight
            module.num_features = channels.shape[0]
        case nn.PReLU():
            module.num_parameters = module.weight.shape[0]
        case _:
            raise SurgeryError(
                f"{name} is a {type(module).__name__}: its tensors have another shape, and how it is resized "
                f"is not known. Resized are Conv2d, Linear, BatchNorm and PReLU."
            )
