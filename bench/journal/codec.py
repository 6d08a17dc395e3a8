"""Values as JSON, and states as safetensors files: what a journal writes, and reads back without running anything.

JSON holds plain values as they are; a tensor, a history or an accuracy is an object with one key that begins with `$`.
"""

import base64
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import StoreError
from bench.journal.protocol import State
from bench.measure.accuracy import Accuracy
from bench.records.store import write_atomically
from bench.training.hooks import Epoch, History, Observation

__all__ = ["decode", "encode", "read_state", "write_state"]

_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (
    torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool, torch.complex64, torch.complex128,
)}  # fmt: skip


def encode(value: Any) -> Any:
    """`value` as JSON values.

    Raises:
        TypeError: there is no way to write it down.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        if str(value.dtype).removeprefix("torch.") not in _DTYPES or value.layout != torch.strided:
            raise TypeError(f"a tensor of {value.dtype}, {value.layout}, cannot be journaled; give a plain one")
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        data = base64.b64encode(flat.numpy().tobytes()).decode()
        return {"$tensor": [str(value.dtype).removeprefix("torch."), list(value.shape), data]}
    if isinstance(value, Accuracy):
        return {"$accuracy": [value.top1, value.top5, value.loss, value.images]}
    if isinstance(value, History):
        rows = [[each.epochs, each.train_loss, each.learning_rate] for each in value.epochs]
        return {"$history": [rows, [[each.epochs, encode(each.observed)] for each in value.observations]]}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and not key.startswith("$") for key in value):
            raise TypeError(f"keys must be texts that do not begin with $: {list(value)[:5]}")
        return {key: encode(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [encode(each) for each in value]
    raise TypeError(f"a {type(value).__name__} cannot be journaled; give tensors, numbers, texts, lists or mappings")


def decode(value: Any) -> Any:
    """What `encode` wrote down; tuples come back as lists.

    Raises:
        ValueError: it is nothing that `encode` writes.
        RecursionError: it is nested too deeply.
    """
    if isinstance(value, list):
        return [decode(each) for each in value]
    if not isinstance(value, dict):
        return value
    marks = [key for key in value if key.startswith("$")]
    if not marks:
        return {key: decode(each) for key, each in value.items()}
    content = value[marks[0]]
    try:
        if marks == ["$tensor"]:
            return _tensor(*content)
        if marks == ["$accuracy"]:
            return _accuracy(*content)
        if marks == ["$history"]:
            return _history(*content)
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{marks[0]} is not as it was written: {error}") from None
    raise ValueError(f"unknown mark {marks}")


def _tensor(dtype: str, shape: list[int], data: str) -> Tensor:
    content = base64.b64decode(data, validate=True)
    whole = all(type(size) is int and size >= 0 for size in shape)
    if not whole or math.prod(shape) * _DTYPES[dtype].itemsize != len(content):
        raise TypeError(f"{len(content)} bytes are no {dtype} of shape {str(shape)[:100]}")
    tensor = torch.empty(shape, dtype=_DTYPES[dtype])
    if content:
        flat = torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())
        tensor.reshape(-1).view(torch.uint8).copy_(flat)
    return tensor


def _accuracy(top1: float, top5: float | None, loss: float, images: int) -> Accuracy:
    _numbers(top1, 0.0 if top5 is None else top5, loss, images)
    return Accuracy(top1, top5, loss, images)


def _history(epochs: list[Any], observations: list[Any]) -> History:
    return History(tuple(_epoch(*row) for row in epochs), tuple(_observation(*row) for row in observations))


def _epoch(epochs: float, loss: float, rate: float) -> Epoch:
    _numbers(epochs, loss, rate)
    return Epoch(epochs, loss, rate)


def _observation(epochs: float, observed: Any) -> Observation:
    _numbers(epochs)
    return Observation(epochs, {name: dict(seen.items()) for name, seen in decode(observed).items()})


def _numbers(*values: Any) -> None:
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong:
        raise TypeError(f"{str(wrong[0])[:100]!r} is no number")


def write_state(path: Path, state: State) -> None:
    """Writes a state as one safetensors file, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.tensors.items()}
    values = json.dumps(encode(state.values))
    metadata = {"values": values, "checksum": _checksum(values, tensors)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def _checksum(values: str, tensors: Mapping[str, Tensor]) -> str:
    """Of all that a state holds: after a power cut a file may have its length, and zeros in it."""
    found = zlib.crc32(values.encode())
    for name in sorted(tensors):
        flat = tensors[name].contiguous().reshape(-1).view(torch.uint8)
        found = zlib.crc32(flat.numpy().data, zlib.crc32(name.encode(), found))
    return f"{found:08x}"


def read_state(path: Path) -> State:
    """A state that `write_state` wrote. Nothing in the file is executed.

    Raises:
        StoreError: the file is missing, damaged, or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            values = decode(json.loads(metadata["values"]))
            if not isinstance(values, dict):
                raise ValueError("its values are no object")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata.get("checksum", "") not in ("", _checksum(metadata["values"], tensors)):
                raise ValueError("its content is not what was written")
            return State(tensors, values)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({type(error).__name__}: {error}).") from None
