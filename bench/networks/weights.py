"""Trained weights from a file, by name, into a network: safetensors, or a state_dict that torch saved.

A file is never unpickled: `torch.load(weights_only=True)` reads tensors and plain containers, nothing that runs.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import UsageError

__all__ = ["file_sha256", "load_weights", "read_weights"]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_SHOWN = 5


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Raises:
        UsageError: there is no such file, or it holds something else than tensors by name.
    """
    if not path.is_file():
        raise UsageError(f"weights {path}: there is no such file. Give the file of a state_dict.")
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if path.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{" and head[:2] != b"PK"):
            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle that is refused in the next moment
            found = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UsageError(f"weights {path}: not a safetensors file, or a damaged one ({error}).") from None
    except Exception as error:  # torch's reader raises errors of many kinds on what it does not take
        first = str(error).strip().splitlines()
        held = re.search(r"GLOBAL (\S+)", str(error))  # what torch found in it that is no tensor
        reason = f"it holds {held[1]}" if held else f"{type(error).__name__}: {first[0][:160] if first else ''}"
        raise UsageError(
            f"weights {path}: not a state_dict, but a whole pickled object or a damaged file, which is not opened "
            f"since a pickle can run anything ({reason}). Save the tensors where the network is trained: "
            "torch.save(network.state_dict(), 'weights.pt')."
        ) from None
    return _tensors(found, path)


def _tensors(found: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:  # a training script's checkpoint: the state_dict beside an epoch and an optimiser
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not _named(found):
        kind = f"a {type(found).__name__}" + (
            f" of {', '.join(map(str, list(found)[:5]))}" if isinstance(found, Mapping) else ""
        )
        inner = [key for key, value in found.items() if _named(value)] if isinstance(found, Mapping) else []
        alone = f"torch.load({path.name!r})[{inner[0]!r}]" if inner else "network.state_dict()"
        raise UsageError(
            f"weights {path}: holds {kind}, not tensors by name. Save them alone: torch.save({alone}, 'weights.pt')."
        )
    return {str(name): value for name, value in found.items()}


def _named(found: Any) -> bool:
    """Whether these are tensors by name."""
    return isinstance(found, Mapping) and bool(found) and all(isinstance(value, Tensor) for value in found.values())


def file_sha256(path: Path) -> str:
    """SHA-256 over a file's bytes.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"weights {path}: {error.strerror or error}. Give the file of a state_dict.") from None


def load_weights(network: nn.Module, path: Path) -> None:
    """Sets the network's parameters and buffers to those of a file; a prefix of all names (`module.`) is taken off.

    Raises:
        UsageError: a tensor is missing, unknown, of another shape or not finite: each is named. The network is as it
            was.
    """
    wanted, tensors = network.state_dict(), read_weights(path)
    for prefix in _PREFIXES:
        if not set(tensors) & set(wanted) and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    missing = [name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")]
    unknown = [name for name in tensors if name not in wanted]
    shapes = [
        f"{name} is {tuple(value.shape)} in the file and {tuple(wanted[name].shape)} in the network"
        for name, value in tensors.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    said = [
        f"{words}: {'; '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
        for words, names in (
            ("of another shape", shapes),
            ("not in the file", missing),
            ("not in the network", unknown),
            ("not finite", broken),
        )
        if names
    ]
    if said:
        raise UsageError(
            f"weights {path} do not fit the network. {'. '.join(said)}. Give the network that they were trained in, "
            "with the settings that it had (--set KEY=VALUE)."
        )
    network.load_state_dict(tensors, strict=False)
