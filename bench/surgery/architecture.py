"""A pruned network as a file: its tensors, and what is needed to build the dense network that they fit into.

The tensors' shapes are the architecture: loading resizes the dense network to them. So a pruned network opens
without the method that pruned it. Where a removal changed a number in a module that no shape tells (attention's
`num_heads`, the sizes of a split), the file has it beside the tensors, as a whole number `module.num_heads`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import StoreError, SurgeryError
from bench.surgery.resize import Places, fit_attributes, replace_tensor, resized_attributes, set_attribute

__all__ = ["load_tensors_into", "read_network", "save_network"]

_METADATA_KEY = "bench"


def save_network(network: nn.Module, path: Path, description: Mapping[str, Any]) -> None:
    """Writes the network's state to a safetensors file.

    Args:
        network: the network, pruned or not.
        path: the file, whose folder exists.
        description: what builds the dense network again (name, classes, input shape, ...), as JSON values.
    """
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}
    numbers = resized_attributes(network)
    tensors |= {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.int64)
        for name, value in numbers.items()
    }
    save_file(tensors, path, metadata={_METADATA_KEY: json.dumps(dict(description), sort_keys=True)})


def read_network(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and the tensors of a file that `save_network` wrote.

    Raises:
        StoreError: the file is missing, damaged, or was written by something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = dict(json.loads(file.metadata()[_METADATA_KEY]))
            return description, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise StoreError(
            f"{path} is no network that bench saved ({type(error).__name__}: {error}). Run the method again."
        ) from error


def load_tensors_into(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Makes a dense network the one that was saved: resizes its layers, then sets every value.

    Args:
        network: the dense network, as the description builds it; its modules stay.
        tensors: the saved tensors, by name.

    Raises:
        SurgeryError: names are missing or do not belong, or a tensor is larger than the dense network's. The
            network is as before.
    """
    dense = network.state_dict(keep_vars=True)
    numbers = {name: tensor for name, tensor in tensors.items() if name not in dense and _is_extra(network, name)}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in numbers}
    unknown, missing = sorted(set(tensors) - set(dense)), sorted(set(dense) - set(tensors))
    if unknown or missing:
        raise SurgeryError(
            f"the saved tensors do not belong to this network: unknown {unknown or 'none'}, missing "
            f"{missing or 'none'}. Build the network that the file's description names."
        )
    for name, tensor in tensors.items():
        full = dense[name].shape
        fits = len(full) == tensor.dim() and all(n <= m for n, m in zip(tensor.shape, full, strict=True))
        if not fits or (_is_kernel(network, name) and tensor.shape[2:] != full[2:]):
            raise SurgeryError(
                f"{name} has shape {list(tensor.shape)}, which does not fit into {list(full)}. "
                f"Build the network that the file's description names."
            )
    resized = [name for name, tensor in tensors.items() if tensor.shape != dense[name].shape]
    places = Places(network)
    holders: dict[nn.Module, None] = {}
    for name in resized:  # a tensor under two names is one: its holders have the new one after the first
        holders |= dict.fromkeys(places.layer_of(module) for module, _ in places.of(dense[name]))
        if any(getattr(module, attribute) is dense[name] for module, attribute in places.of(dense[name])):
            replace_tensor(places, dense[name], tensors[name])
    for name, value in numbers.items():
        path, _, attribute = name.rpartition(".")
        module = network.get_submodule(path)
        old = getattr(module, attribute)
        if isinstance(old, Tensor):
            set_attribute(module, attribute, value.to(old.device, old.dtype))
        else:
            set_attribute(module, attribute, int(value) if type(old) is int else type(old)(value.tolist()))
    for module in holders:
        fit_attributes(module)
    network.load_state_dict(dict(tensors))


def _is_extra(network: nn.Module, name: str) -> bool:
    """Whether a name is a whole number, a list of them or a buffer in a module of the network."""
    path, _, attribute = name.rpartition(".")
    module = dict(network.named_modules()).get(path)
    if module is None or attribute in module._buffers:
        return module is not None
    value = module.__dict__.get(attribute)
    return type(value) is int or (isinstance(value, list | tuple) and all(type(each) is int for each in value))


def _is_kernel(network: nn.Module, name: str) -> bool:
    return isinstance(network.get_submodule(name.rpartition(".")[0]), nn.modules.conv._ConvNd)
