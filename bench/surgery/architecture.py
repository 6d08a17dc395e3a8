"""A pruned network as a file: its tensors, and what is needed to build the dense network that they fit into.

The tensors' shapes are the architecture: loading resizes the dense network to them. So a pruned network opens
without the method that pruned it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import StoreError, SurgeryError
from bench.surgery.resize import fit_attributes, replace_tensor

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
    unknown, missing = sorted(set(tensors) - set(dense)), sorted(set(dense) - set(tensors))
    if unknown or missing:
        raise SurgeryError(
            f"the saved tensors do not belong to this network: unknown {unknown or 'none'}, missing "
            f"{missing or 'none'}. Build the network that the file's description names."
        )
    for name, tensor in tensors.items():
        full = dense[name].shape
        fits = len(full) == tensor.dim() and all(n <= m for n, m in zip(tensor.shape, full, strict=True))
        if not fits or tensor.shape[2:] != full[2:]:
            raise SurgeryError(
                f"{name} has shape {list(tensor.shape)}, which does not fit into {list(full)}. "
                f"Build the network that the file's description names."
            )
    resized = [name for name, tensor in tensors.items() if tensor.shape != dense[name].shape]
    placed: dict[int, nn.Parameter] = {}
    for name in resized:
        path, _, attribute = name.rpartition(".")
        if id(dense[name]) in placed:  # one parameter under two names stays one
            setattr(network.get_submodule(path), attribute, placed[id(dense[name])])
        else:
            replace_tensor(network, name, tensors[name])
            placed[id(dense[name])] = getattr(network.get_submodule(path), attribute)
    for path in dict.fromkeys(name.rpartition(".")[0] for name in resized):
        fit_attributes(path, network.get_submodule(path))
    network.load_state_dict(dict(tensors))
