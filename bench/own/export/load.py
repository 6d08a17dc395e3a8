"""A pruned network of a run as a module of PyTorch: `bench.load`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.errors import StoreError, SurgeryError, UsageError
from bench.networks.base import NetworkSpec
from bench.networks.own import OwnNetwork
from bench.networks.registry import network as network_named
from bench.records.lookup import find_record
from bench.records.reading import read_regular
from bench.records.record import Record, parse_record
from bench.surgery.architecture import load_tensors_into, read_network

__all__ = ["Stored", "load", "stored"]


@dataclass(frozen=True)
class Stored:
    """A network in a file of the store.

    Attributes:
        path: the file.
        description: what it says of itself: network, settings, shape, classes, mean, std.
        tensors: by name.
        record: of the run, where it lies beside the file.
        root: the folder that the path of a network of one's own begins in.
    """

    path: Path
    description: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    record: Record | None
    root: Path | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image, (C, H, W)."""
        channels, height, width = self.description["shape"]
        return int(channels), int(height), int(width)

    @property
    def classes(self) -> int:
        """Number of labels."""
        return int(self.description["classes"])

    def normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and deviation by channel, on pixels scaled to [0, 1].

        Raises:
            UsageError: neither the file nor its track says them.
        """
        if "mean" in self.description:
            return self.description["mean"], self.description["std"]
        from bench.data.base import dataset

        if self.record is None:
            raise UsageError(f"{self.path} does not say how images are normalised, and has no record beside it.")
        source = dataset(str(self.record.track_fields["dataset"]))
        return source.mean, source.std

    def dense(self) -> nn.Module:
        """The dense network that the tensors are pruned from, with any weights.

        Raises:
            UsageError: it cannot be built here: a file is gone or has changed.
        """
        name = str(self.description["network"])
        plugin = network_named(name, self.description.get("settings"), self.root)
        try:
            with torch.random.fork_rng(devices=[]):
                return plugin.construct(NetworkSpec.of(self.shape, self.classes)).eval()
        except UsageError as error:
            if isinstance(plugin, OwnNetwork):
                raise UsageError(
                    f"{error} To load the run into a network that you make: bench.load(run, into=MyNet())"
                ) from None
            raise


def stored(run: "str | Path | Record", store: "str | Path" = "runs") -> Stored:
    """The network of a run.

    Args:
        run: a run id or the beginning of one, the path of a run's folder, record or network, or a record.
        store: folder of the runs.

    Raises:
        StoreError: there is no such run, or it has no network; the text says what there is.
    """
    record: Record | None
    if isinstance(run, Record):
        record, folder = find_record(run.run_id, Path(store))
        path = folder / "network.safetensors"
    elif str(run).endswith(".safetensors"):
        path, beside = Path(run), Path(run).parent / "record.json"
        record = parse_record(read_regular(beside), str(beside)) if beside.exists() else None
    else:
        record, folder = find_record(str(run), Path(store))
        path = folder / "network.safetensors"
    if record is not None and not path.is_file():
        raise StoreError(
            f"run {record.run_id} is {record.status} and has no network in {path.parent}. Run it again, or name "
            "another."
        )
    description, tensors = read_network(path)
    folder_given = record.manifest.get("track_folder") if record is not None else None
    return Stored(path, description, tensors, record, Path(str(folder_given)) if folder_given else None)


def load(run: "str | Path | Record", into: nn.Module | None = None, store: "str | Path" = "runs") -> nn.Module:
    """The pruned network of a run, in evaluation mode on the CPU.

    Its images must be normalised as `mean` and `std` of the file say (`bench.own.export.load.stored`).

    Args:
        run: a run id or the beginning of one, the path of a run's folder, record or network, or a record.
        into: the dense network, made as for the run; its layers are made narrower in place. None: bench makes it.
        store: folder of the runs.

    Raises:
        StoreError: there is no such run, or it has no network.
        UsageError: the network's file is not where it was.
        SurgeryError: `into` is another network.
    """
    found = stored(run, store)
    network = found.dense() if into is None else into
    try:
        load_tensors_into(network, found.tensors)
    except SurgeryError as error:
        if into is None and found.description.get("network", "").endswith(".py"):
            raise UsageError(f"{found.description['network']} has changed since the run: {error}") from None
        raise
    return network.eval()
