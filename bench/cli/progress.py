"""What a person sees while runs go on: one live line a run on a terminal, plain lines elsewhere. On standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from bench.records.console import make_console
from bench.runner.jobs import Job

__all__ = ["ProgressDisplay"]

_PLAIN_SECONDS = 20.0
_PHASES = {
    "dense": "training the dense network",
    "prune": "pruning",
    "finetune": "fine-tuning",
    "measure": "measuring",
}


class ProgressDisplay:
    """Shows how far each run is."""

    def __init__(self, total: int) -> None:
        self._console = make_console(stderr=True)
        self._live = self._console.is_terminal
        self._total, self._done = total, 0
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[phase]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[str, float]] = {}

    def update(self, job: Job, phase: str, share: float) -> None:
        """A run's phase, and how far that phase is (0 to 1)."""
        words, run = _PHASES.get(phase, phase), job.spec.run_id
        if self._live:
            if run not in self._tasks:
                self._tasks[run] = self._bars.add_task(job.label, total=1.0, phase=words)
            self._bars.update(self._tasks[run], completed=share, phase=words)
            return
        before, when = self._said.get(run, ("", 0.0))
        if words != before or time.monotonic() - when > _PLAIN_SECONDS:
            self._said[run] = (words, time.monotonic())
            self.say(f"{job.label}: {words}" + (f" {share:.0%}" if share else ""))

    def finished(self, job: Job, words: str) -> None:
        """A run has ended."""
        if job.spec.run_id in self._tasks:
            self._bars.remove_task(self._tasks.pop(job.spec.run_id))
        self._done += 1
        self.say(f"[{self._done}/{self._total}] {job.label}: {words}")

    def say(self, text: str) -> None:
        """One plain line, above the live ones."""
        if self._live:
            self._bars.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def shown(self) -> Iterator["ProgressDisplay"]:
        """Shows the live lines inside."""
        if not self._live:
            yield self
            return
        with self._bars:
            yield self
