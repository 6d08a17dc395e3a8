"""What happens in a run's own process: one job from its beginning to its record, and nothing after it.

The keeper (`keeper`) has made the process: alone in its session, deaf to Ctrl-C, with its output in a log. It learns
how far the run is through a pipe of JSON lines, and how it ended by the exit code; the result is the record in the
store. A plugin may close the pipe, end the process or leave children: the keeper sees to all of that.
"""

import json
import os
import pickle
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.runner.limits import stuck_after

__all__ = ["DONE", "REFUSED", "STOPPED", "UNUSABLE", "Task", "carry_out"]

DONE, STOPPED, REFUSED, UNUSABLE = 0, 91, 92, 93
"""Exit codes: the record is written; stopped when asked; its journal was refused; store or data cannot be used."""
_REPORT_SECONDS = 0.1


@dataclass(frozen=True)
class Task:
    """One job, as it travels to its process.

    Attributes:
        job: the job, pickled: only the run's own process imports what it names.
        store: folder of the store, absolute.
        data_folder: the data folder, absolute.
        device: what CUDA_VISIBLE_DEVICES is set to; None leaves it as it is.
    """

    job: bytes
    store: Path
    data_folder: Path
    device: str | None = None


class _Reports:
    """Tells the keeper how far the run is; never fails, and costs little however often it is called."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._phase, self._when = "", 0.0

    def send(self, **content: object) -> None:
        with suppress(OSError, ValueError):  # a plugin closed it, or the pipe is full: the exit code says the rest
            os.write(self._pipe, json.dumps(content).encode() + b"\n")

    def progress(self, phase: str, share: float) -> None:
        now = time.monotonic()
        if phase != self._phase or now - self._when > _REPORT_SECONDS or share >= 1.0:
            self._phase, self._when = phase, now
            self.send(phase=str(phase)[:200], share=float(share))


def carry_out(task: Task, pipe: int) -> int:
    """Runs the task's job in this process, which is for nothing else.

    Returns:
        The exit code.
    """
    if task.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = task.device
    reports = _Reports(pipe)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver passes Ctrl-C on as SIGTERM
    from bench.errors import StoreError, UsageError
    from bench.journal import interrupt
    from bench.journal.protocol import JournalRefused
    from bench.records.store import Store
    from bench.runner.dense import dense_seconds
    from bench.runner.run import Workplace, execute

    with interrupt.graceful(signal.SIGTERM):
        try:
            job = pickle.loads(task.job)
            workplace = Workplace(Store(task.store), task.data_folder)

            def report(phase: str, share: float) -> None:
                if phase == "prune" and not told:
                    told.append(True)
                    took = dense_seconds(job.spec, workplace.store)
                    recipe, budget = job.spec.track.dense, job.spec.track.budget
                    amount = budget.dense_epochs if job.spec.unit == "dense_epochs" else budget.device_seconds
                    if took and amount is not None:
                        reports.send(stuck_after=stuck_after(took, recipe.epochs or 1.0, amount, job.spec.unit))
                reports.progress(phase, share)

            told: list[bool] = []
            execute(job, workplace, report)
        except JournalRefused as error:
            reports.send(said=str(error)[:20_000])
            return REFUSED
        except (StoreError, UsageError) as error:
            reports.send(said=str(error)[:20_000])
            return UNUSABLE
        except KeyboardInterrupt:
            return STOPPED
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
    return DONE
