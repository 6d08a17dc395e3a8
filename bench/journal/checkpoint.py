"""A training call that is under way, kept in one file that is replaced again and again.

It is kept after a step when a few seconds have passed since the last time, and no more often than costs one percent
of the run, however large the network is.
"""

import math
import os
import sys
import time
from pathlib import Path

from bench.errors import StoreError
from bench.journal import interrupt as stopping
from bench.journal.codec import read_state, write_state
from bench.journal.protocol import State
from bench.records.store import sweep

__all__ = ["FileCheckpoint"]

INTERVAL_SECONDS = 5.0
_COST_SHARE = 0.01


class FileCheckpoint:
    """A checkpoint in one file.

    Args:
        path: the file.
        identity: what it belongs to; one of something else is ignored.

    Raises:
        StoreError: BENCH_CHECKPOINT_SECONDS is no number of seconds.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self._cost = 0.0
        self._last = time.monotonic()
        self._interval = _interval(os.environ.get("BENCH_CHECKPOINT_SECONDS"))

    def __str__(self) -> str:
        return f"the checkpoint {self._path}"

    def load(self) -> State | None:
        """The last state; None where there is none, or it belongs to another call.
        A damaged one counts as none, which is said on standard error.
        """
        if not self._path.exists():
            return None
        try:
            state = read_state(self._path)
        except StoreError as error:  # a power cut; that training begins again
            print(f"note: the checkpoint {error} That training begins again.", file=sys.stderr, flush=True)
            return None
        return state if state.values.get("identity") == self._identity else None

    def due(self) -> bool:
        """Whether it is time, by the interval and by what the last one cost."""
        if stopping.requested():
            return True
        wait = self._interval if not self._interval else max(self._interval, self._cost / _COST_SHARE)
        return time.monotonic() - self._last >= wait

    def save(self, state: State) -> None:
        """Replaces the last state.

        Raises:
            KeyboardInterrupt: somebody asked to stop; the state is kept.
        """
        begun = time.monotonic()
        write_state(self._path, State(state.tensors, {**state.values, "identity": self._identity}))
        self._last = time.monotonic()
        self._cost = self._last - begun
        if stopping.requested():
            raise KeyboardInterrupt

    def clear(self) -> None:
        """Removes the file, and what killed processes left of theirs."""
        self._path.unlink(missing_ok=True)
        sweep(self._path.parent)


def _interval(text: str | None) -> float:
    try:
        seconds = INTERVAL_SECONDS if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise StoreError(f"BENCH_CHECKPOINT_SECONDS={text!r}: give a number of seconds, 0 for every step.")
    return seconds
