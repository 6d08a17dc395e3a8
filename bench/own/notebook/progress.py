"""How far a run is, as one line that changes: in a notebook, or on a terminal; nothing elsewhere."""

import sys
from typing import Any

from bench.runner.jobs import Job

__all__ = ["LiveLine"]


class LiveLine:
    """One line, overwritten; gone when it is closed."""

    def __init__(self, wanted: bool = True) -> None:
        self._handle: Any = None
        self._terminal = wanted and sys.stderr.isatty()
        if wanted and _in_notebook():
            from IPython.display import display  # type: ignore[import-not-found, unused-ignore]

            self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def update(self, job: Job, phase: str, share: float) -> None:
        """A run's phase, and how far that phase is (0 to 1)."""
        self._say(f"{job.label}: {phase}" + (f" {share:.0%}" if share else ""))

    def close(self) -> None:
        """Takes the line away."""
        self._say("")

    def _say(self, text: str) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": text}, raw=True)
        elif self._terminal:
            print(f"\r\x1b[2K{text[:100]}", end="", file=sys.stderr, flush=True)


def _in_notebook() -> bool:
    """Whether this is IPython's kernel, which is loaded then: it is not imported for the question."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})
