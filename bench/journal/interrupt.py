"""Ctrl-C: the first one stops runs where they can be taken up again, the second one stops at once."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["graceful", "requested"]

_asked = False


def requested() -> bool:
    """Whether somebody asked to stop: whoever keeps a state keeps it now and raises `KeyboardInterrupt`."""
    return _asked


@contextmanager
def graceful(number: signal.Signals = signal.SIGINT, message: str = "") -> Iterator[None]:
    """Inside, the first signal is kept in `requested`, and the second one ends this process and its workers.

    Args:
        number: the signal: SIGINT for who sits at the terminal, SIGTERM for a worker, whose driver passes it on.
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
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
        _asked = False
