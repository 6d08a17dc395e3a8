"""How long one inference takes, for several networks side by side.

The networks take turns, so that what else the machine does hits all of them alike and their ratio is fair.
Timings are of this machine and this moment; nothing is ranked by them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.measure._mode import device_of, dtype_of, measuring

__all__ = ["Latency", "measure_latency"]

MIN_RUNS = 10
WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass of a whole batch.

    Attributes:
        batch: images in a pass.
        median_seconds: the median over the runs.
        iqr_seconds: the distance between the quartiles.
        runs: passes that were timed.
    """

    batch: int
    median_seconds: float
    iqr_seconds: float
    runs: int


def _timer(device: torch.device) -> Callable[[nn.Module, Tensor], float]:
    """A function that runs a network once and gives the seconds: by events on a GPU, else by the clock."""

    def by_clock(network: nn.Module, images: Tensor) -> float:
        start = time.perf_counter()
        network(images)
        return time.perf_counter() - start

    def by_events(network: nn.Module, images: Tensor) -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        with torch.cuda.device(device):
            start.record()
            network(images)
            end.record()
        torch.cuda.synchronize(device)
        return start.elapsed_time(end) / 1000

    return by_events if device.type == "cuda" else by_clock


def measure_latency(
    networks: Mapping[str, nn.Module],
    shape: tuple[int, ...],
    batches: Sequence[int] = (1, 64),
    max_seconds: float = 0.5,
    memory_format: torch.memory_format = torch.channels_last,
) -> dict[str, tuple[Latency, ...]]:
    """Time the networks in turns, in inference mode, after a warm-up.

    Args:
        networks: by any name, all on one device; their modes are left as they were.
        shape: of one image, `(C, H, W)`; images are standard normal, from a generator of their own.
        batches: the batch sizes to time.
        max_seconds: time for each network and batch size; ten runs are made even if they take longer.
        memory_format: of the images. Weights stay as they are: give networks that were already converted.

    Returns:
        For each name a `Latency` for each batch size, in the order of `batches`.

    Raises:
        UsageError: there are no networks, or they are on several devices.
    """
    devices = {device_of(network) for network in networks.values()}
    if len(devices) != 1:
        raise UsageError(f"latency needs networks on one device, not on {len(devices)}. Move them to one.")
    device = devices.pop()
    run = _timer(device)
    rows: dict[str, list[Latency]] = {name: [] for name in networks}
    with measuring(*networks.values()), torch.inference_mode():
        for batch in batches:
            generator = torch.Generator().manual_seed(0)
            images = torch.randn(batch, *shape, generator=generator).to(device)
            if images.dim() == 4:
                images = images.contiguous(memory_format=memory_format)
            inputs = {name: images.to(dtype_of(network)) for name, network in networks.items()}
            seconds: dict[str, list[float]] = {name: [] for name in networks}
            for name, network in networks.items():
                for _ in range(WARM_UP):
                    run(network, inputs[name])
            end = time.perf_counter() + max_seconds * len(networks)
            while len(next(iter(seconds.values()))) < MIN_RUNS or time.perf_counter() < end:
                for name, network in networks.items():
                    seconds[name].append(run(network, inputs[name]))
            for name, values in seconds.items():
                low, median, high = np.percentile(values, (25, 50, 75))
                rows[name].append(Latency(batch, float(median), float(high - low), len(values)))
    return {name: tuple(row) for name, row in rows.items()}
