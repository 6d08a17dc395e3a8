"""How far runs are: bars and what has ended in a notebook, a line that changes on a terminal, nothing elsewhere."""

import sys
import time
from html import escape
from typing import Any

from bench.records.record import Record
from bench.runner.jobs import Job

__all__ = ["LiveProgress"]

_BAR = 20
_DRAWN_EVERY_SECONDS = 0.2


class LiveProgress:
    """What is shown while runs go on; in a notebook it is gone when it is closed.

    Args:
        runs: how many there are.
        wanted: whether anything is shown.
    """

    def __init__(self, runs: int, wanted: bool = True) -> None:
        self._runs, self._begun, self._drawn = runs, time.monotonic(), 0.0
        self._ended: list[str] = []
        self._under_way: dict[str, tuple[str, float]] = {}
        self._handle: Any = None
        self._terminal = wanted and sys.stderr.isatty()
        if wanted and _in_notebook():
            from IPython.display import display  # type: ignore[import-not-found, unused-ignore]

            self._handle = display({"text/html": "", "text/plain": ""}, raw=True, display_id=True)

    def update(self, job: Job, phase: str, share: float) -> None:
        """A run's phase, and how far that phase is (0 to 1)."""
        before = self._under_way.get(job.label)
        self._under_way[job.label] = phase, share
        if before is None or before[0] != phase or time.monotonic() - self._drawn > _DRAWN_EVERY_SECONDS:
            self._draw()

    def finished(self, job: Job, record: Record | None) -> None:
        """A run has ended, with a record or without."""
        self._under_way.pop(job.label, None)
        self._ended.append(f"{job.label}: no record" if record is None else repr(record))
        if self._terminal and self._handle is None:
            print(f"\r\x1b[2K{self._ended[-1]}", file=sys.stderr, flush=True)
        self._draw()

    def close(self) -> None:
        """Takes away what changes."""
        if self._handle is not None:
            self._handle.update({"text/html": "", "text/plain": ""}, raw=True)
        elif self._terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._handle is not None:
            self._handle.update({"text/html": self._html(), "text/plain": self._line()}, raw=True)
        elif self._terminal:
            print(f"\r\x1b[2K{self._line()[:100]}", end="", file=sys.stderr, flush=True)

    def _line(self) -> str:
        """One line: `[1/3] l1 ...: finetune ########............ 40%, 12 s`."""
        words = "; ".join(
            f"{label}: {phase} {'#' * round(_BAR * share):.<{_BAR}} {share:.0%}"
            for label, (phase, share) in self._under_way.items()
        )
        return f"[{len(self._ended)}/{self._runs}] {words}{', ' if words else ''}{self._seconds()}"

    def _html(self) -> str:
        ended = "".join(f"<div>{escape(text)}</div>" for text in self._ended)
        bars = "".join(
            f"<div><progress value='{share:.3f}'></progress> {escape(label)}: {escape(phase)}</div>"
            for label, (phase, share) in self._under_way.items()
        )
        return f"{ended}{bars}<div>{len(self._ended)} of {self._runs} runs, {self._seconds()}</div>"

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._begun:.0f} s"


def _in_notebook() -> bool:
    """Whether this is IPython's kernel, which is loaded then: it is not imported for the question."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})
