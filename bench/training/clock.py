"""The device's clock: the time a method holds the device, without the time that the harness measures."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Clock"]


class Clock:
    """Seconds since the last `lap`, not counting what happens inside `stopped`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun = self._now()
        self._stops = 0

    def _now(self, wait: bool = True) -> float:
        if wait and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def lap(self, wait: bool = True) -> float:
        """Seconds since the last lap, and begins the next one.

        Args:
            wait: for the device to finish what it was given; inside a training phase that would only slow it down.
        """
        now = self._now(wait)
        seconds, self._begun = now - self._begun, now
        return seconds

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The harness's own work: its time does not count. One inside another changes nothing."""
        before = self._now()
        self._stops += 1
        try:
            yield
        finally:
            self._stops -= 1
            if not self._stops:
                self._begun += self._now() - before
