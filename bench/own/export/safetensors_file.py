"""A pruned network as a safetensors file: its tensors by name, and what they are in the metadata."""

import json
from pathlib import Path

from safetensors.torch import save_file

from bench.own.export.load import Stored
from bench.records.store import write_atomically

__all__ = ["export_safetensors"]


def export_safetensors(found: Stored, path: Path) -> list[str]:
    """Writes the file, whole or not at all.

    The metadata are strings: `bench`, JSON with network, settings, shape, classes, `mean` and `std`, as in the store;
    so that `bench.load(path)` reads it, and anybody else the tensors.

    Returns:
        What was written, for people.

    Raises:
        StoreError: it cannot be written.
    """
    mean, std = found.normalisation()
    about = {**found.description, "mean": list(mean), "std": list(std)}
    metadata = {"bench": json.dumps(about, sort_keys=True), "run": found.record.run_id if found.record else ""}
    write_atomically(path, lambda temporary: save_file(found.tensors, temporary, metadata=metadata))
    return [
        f"wrote {path}: {path.stat().st_size:,} bytes, {len(found.tensors)} tensors",
        f"images are normalised with mean {list(mean)} and std {list(std)} on pixels scaled to [0, 1]",
        f"in Python: bench.load({str(path)!r}), or bench.load({str(path)!r}, into=network)",
    ]
