"""A dense network on the disk: what its folder holds, written whole and checked when it is read.

    KEY/weights.safetensors      as trained
    KEY/OBSERVER.safetensors     what an observer saw, point by point
    KEY/dense.json               the rest, written last: what it was trained from, on which machines, cost, curve
    KEY/measured-BATCH.json      accuracy and sizes, once a run has measured them

The same folder lies in a store (`STORE/dense/KEY`) and among the committed results (`leaderboard/results/dense/KEY`):
to commit a dense network is to copy its folder. Every file is held against a hash when it is read, so that a number
that was edited by hand gets into no record.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.errors import StoreError
from bench.measure.network import tensors_sha256
from bench.records.record import Measured, Point, Spent
from bench.records.store import write_atomically, write_text
from bench.specs.digest import digest
from bench.specs.toml_file import describe

__all__ = [
    "DenseMeta",
    "ObserverRow",
    "load_tensors",
    "read_measured",
    "read_meta",
    "save_tensors",
    "write_measured",
    "write_meta",
]


class ObserverRow(BaseModel):
    """What is kept of an observer; see `DenseMeta`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    source_sha256: str
    weights_sha256: str


class DenseMeta(BaseModel):
    """`dense.json`.

    Attributes:
        inputs: all that it was trained from, which its key is a hash over.
        sources: hash of each module of the network and version of each library, to name what changed.
        weights_sha256: of its tensors.
        spent: what its training cost.
        curve: loss and validation accuracy by epoch.
        epochs: passes, mean loss and learning rate at each epoch's end.
        looks: passes at each of the observers' points.
        observers: by name, hashes over what it saw (`sha256`), over its own code, and over the weights that the
            training it watched came to: another machine's may be others.
        machines: on which it was trained, first one first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    inputs: dict[str, Any]
    sources: dict[str, str]
    weights_sha256: str
    spent: Spent
    curve: tuple[Point, ...]
    epochs: tuple[tuple[float, float, float], ...]
    looks: tuple[float, ...] = ()
    observers: dict[str, ObserverRow] = {}
    machines: tuple[dict[str, Any], ...] = ()


def write_meta(folder: Path, meta: DenseMeta) -> None:
    """Writes `dense.json`.

    Raises:
        StoreError: the folder cannot be written.
    """
    fields = meta.model_dump(mode="json")
    write_text(folder / "dense.json", json.dumps({**fields, "sha256": digest(fields)}, indent=1) + "\n")


def read_meta(folder: Path) -> DenseMeta | None:
    """What `dense.json` says; None where there is none.

    Raises:
        StoreError: it cannot be read, or is not as it was written.
    """
    path = folder / "dense.json"
    try:
        fields = json.loads(path.read_bytes())
        if not isinstance(fields, dict):
            raise ValueError("it is no object")
        said = fields.pop("sha256", None)
        meta = DenseMeta.model_validate(fields)
        if digest(meta.model_dump(mode="json")) != said:
            raise ValueError("it was edited: its content is not what its own hash says")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        why = describe(error) if isinstance(error, ValidationError) else str(error)
        raise StoreError(f"the dense network in {folder} is damaged: {path.name}: {why}.") from None
    return meta


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes tensors and gives their hash."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda temporary: save_file(kept, temporary))
    return tensors_sha256(kept)


def load_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Reads tensors.

    Raises:
        StoreError: the file is missing or damaged, or its tensors have another hash.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"the dense network in {path.parent} is damaged: {path.name}: {error}.") from None
    if tensors_sha256(tensors) != sha256:
        raise StoreError(
            f"the dense network in {path.parent} is damaged: the hash of {path.name} is not the one in dense.json."
        )
    return tensors


def write_measured(path: Path, measured: Measured) -> None:
    """Keeps a dense network's measures."""
    fields = measured.model_dump(mode="json")
    write_text(path, json.dumps({"measured": fields, "sha256": digest(fields)}, indent=1) + "\n")


def read_measured(path: Path, weights_sha256: str) -> Measured | None:
    """The measures that were kept; None where there are none, or not of these weights, or not as they were written."""
    try:
        content = json.loads(path.read_bytes())
        measured = Measured.model_validate(content["measured"])
        whole = digest(content["measured"]) == content["sha256"] and measured.weights_sha256 == weights_sha256
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return measured if whole else None
