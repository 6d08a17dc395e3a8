"""Ctrl-C: the first one stops runs where they can be taken up again, the second one stops at once.

SIGTERM, by which Slurm, docker and CI end a command, means the same.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "graceful", "pause", "requested"]


class Stopped(BaseException):
    """The run is stopped from outside, as if its process were killed: no plugin's failure, and its journal stays."""


_asked = False


def requested() -> bool:
    """Whether somebody asked to stop: whoever keeps a state keeps it now and raises `KeyboardInterrupt`."""
    return _asked


def pause(seconds: float) -> None:
    """Waits, but not for long once somebody asked to stop."""
    end = time.monotonic() + seconds
    while not _asked and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


@contextmanager
def graceful(*numbers: signal.Signals, message: str = "") -> Iterator[None]:
    """Inside, the first signal is kept in `requested`, and the second one ends this process, and its runs with it.

    Args:
        numbers: the signals; without any, SIGINT and SIGTERM. A run's process takes SIGTERM alone: its driver passes
            on what reaches it.
        message: said on standard error at the first one.
    """
    global _asked

    def handler(_signal: int, _frame: FrameType | None) -> None:
        global _asked
        if _asked:
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(130)
        _asked = True
        if message:
            print(message, file=sys.stderr, flush=True)

    _asked = False
    before = {number: signal.signal(number, handler) for number in numbers or (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        _asked = False
