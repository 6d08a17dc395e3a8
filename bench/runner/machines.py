"""On which machines a run, or a dense network, was made: each process that works on it adds its own."""

import json
from pathlib import Path
from typing import Any

import torch

from bench.records.hardware import BITS, environment, hardware
from bench.records.store import write_text

__all__ = ["add_machine", "forget_machines", "machine_here", "machines_in"]

_FILE = "machines.json"


def machine_here(device: str) -> dict[str, Any]:
    """This machine, as far as bits depend on it, with its GPU where the run is on one."""
    here = hardware()
    fields = {name: here[name] for name in BITS} | {"environment": environment()}
    return fields | {"gpu": here["gpu"] if device == "cuda" else None, "torch": torch.__version__}


def add_machine(folder: Path, device: str) -> None:
    """Notes this machine in a folder of something that is in the making.

    Raises:
        StoreError: the folder cannot be written.
    """
    known, here = machines_in(folder), machine_here(device)
    if here not in known:
        write_text(folder / _FILE, json.dumps([*known, here], indent=1))


def forget_machines(folder: Path) -> None:
    """Removes the note, once it stands in what was made."""
    (folder / _FILE).unlink(missing_ok=True)


def machines_in(folder: Path) -> list[dict[str, Any]]:
    """Those that were noted, first one first; none where nothing was, or it cannot be read."""
    try:
        found = json.loads((folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
