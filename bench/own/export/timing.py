"""Stored networks timed again, in turns with their dense network: PyTorch, and onnxruntime where it is installed.

A run times its networks once, on a machine that may be busy. Here all of them take turns in one process, so that what
else the machine does hits all alike: times of one call can be compared with each other, and with nothing else.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import nn

from bench.errors import UsageError
from bench.measure.latency import Latency, measure_latency
from bench.own.export.load import Stored
from bench.own.export.onnx_file import onnx_module
from bench.surgery.architecture import load_tensors_into

__all__ = ["Timed", "time_in_turns", "wait_for_quiet"]

_QUIET = 0.25  # mean number of running processes over the last minute
_LOOK_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Timed:
    """One network.

    Attributes:
        name: the run's id, or `dense`.
        runtime: `torch` or `onnxruntime`.
        latency: by batch size.
        speedup: of the medians, how many times faster than the dense network in the same runtime, by batch size.
    """

    name: str
    runtime: str
    latency: tuple[Latency, ...]
    speedup: tuple[float, ...]


def time_in_turns(
    found: Sequence[Stored], batches: Sequence[int], seconds: float, threads: int, onnx: bool | None = None
) -> tuple[Timed, ...]:
    """Times the networks and the dense one that they are pruned from.

    Args:
        found: networks pruned from the same dense network.
        batches: images at once.
        seconds: for each network, runtime and batch size.
        threads: of PyTorch and of onnxruntime.
        onnx: whether onnxruntime is timed, too; None: where it is installed.

    Raises:
        UsageError: the networks are pruned from different ones, or onnxruntime is asked for and not installed.
    """
    designs = {(str(each.description["network"]), each.shape, each.classes) for each in found}
    if len(designs) != 1:
        names = "; ".join(f"{name} for {shape}, {classes} classes" for name, shape, classes in sorted(designs))
        raise UsageError(f"only networks pruned from one dense network can be timed in turns, not from {names}.")
    installed = all(find_spec(name) is not None for name in ("onnx", "onnxruntime", "onnxscript"))
    if onnx and not installed:
        raise UsageError("onnxruntime is not installed: pip install 'bench[export]'.")
    with_onnx = installed if onnx is None else onnx
    networks: dict[tuple[str, str], nn.Module] = {}
    for name, stored, network in _networks(found):
        networks[name, "torch"] = network
        if with_onnx:
            networks[name, "onnxruntime"] = onnx_module(stored, network, threads)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        named: Mapping[str, nn.Module] = {"\n".join(key): network for key, network in networks.items()}
        rows = measure_latency(named, found[0].shape, batches, seconds, memory_format=torch.contiguous_format)
    finally:
        torch.set_num_threads(before)
    times = {key: rows["\n".join(key)] for key in networks}
    return tuple(
        Timed(
            name,
            runtime,
            row,
            tuple(
                dense.median_seconds / own.median_seconds
                for dense, own in zip(times["dense", runtime], row, strict=True)
            ),
        )
        for (name, runtime), row in times.items()
    )


def wait_for_quiet(
    seconds: float,
    load: Callable[[], float] = lambda: os.getloadavg()[0],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Waits until nothing else runs on this machine.

    Args:
        seconds: how long, at most.
        load: mean number of running processes over the last minute.
        sleep: waits.

    Raises:
        UsageError: it is busy to the end.
    """
    waited = 0.0
    while (busy := load()) > _QUIET:
        if waited >= seconds:
            raise UsageError(
                f"this machine is busy: {busy:.2f} processes on the mean of a minute, {_QUIET:g} count as quiet. Stop "
                "them, or measure without --quiet."
            )
        sleep(_LOOK_EVERY_SECONDS)
        waited += _LOOK_EVERY_SECONDS


def _networks(found: Sequence[Stored]) -> list[tuple[str, Stored, nn.Module]]:
    """The dense network with any weights, which do not change its time, and the pruned ones."""
    networks = [("dense", found[0], found[0].dense().eval())]
    for stored in found:
        network = stored.dense()
        load_tensors_into(network, stored.tensors)
        networks.append((stored.record.run_id if stored.record else str(stored.path), stored, network.eval()))
    return networks
