"""Runs on this machine: one after the other in this process, or in several processes, one run at a time each.

A worker process that dies takes only its own run with it: the run is reported as having no record, and a new
worker takes the next one.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.journal import interrupt as stopping
from bench.records.store import Store
from bench.runner.jobs import Job
from bench.runner.run import Workplace
from bench.runner.suite import Outcome, Progress, perform

__all__ = ["InProcess", "LocalProcesses"]

_POLL_SECONDS = 0.5


class InProcess:
    """One run after the other, in this process."""

    def run(self, jobs: Sequence[Job], workplace: Workplace, progress: Progress) -> Iterator[Outcome]:
        """Outcomes, as they come."""
        for job in jobs:
            if stopping.requested():
                raise KeyboardInterrupt
            yield perform(job, workplace, lambda phase, share, job=job: progress(job, phase, share))  # type: ignore[misc]


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    told: bool = False


class LocalProcesses:
    """Several worker processes; on a machine with GPUs, worker i takes GPU i."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._context = multiprocessing.get_context("spawn")

    def run(self, jobs: Sequence[Job], workplace: Workplace, progress: Progress) -> Iterator[Outcome]:
        """Outcomes, as they come.

        Raises:
            UsageError: the store or the data cannot be used.
        """
        waiting = deque(jobs)
        crew = [self._start(number, workplace) for number in range(min(self._workers, len(jobs)))]
        try:
            for worker in crew:
                self._next(worker, waiting)
            while any(worker.job for worker in crew):
                busy = {worker.pipe: worker for worker in crew if worker.job}
                if stopping.requested():
                    self._stop(crew)
                for pipe in wait(list(busy), timeout=_POLL_SECONDS):
                    worker = busy[pipe]  # type: ignore[index]
                    assert worker.job is not None
                    try:
                        kind, content = worker.pipe.recv()
                    except (EOFError, OSError):
                        job, worker.job = worker.job, None
                        worker.process.join()
                        code = worker.process.exitcode
                        if not (worker.told and code == -signal.SIGTERM):  # told to stop before it could listen
                            yield Outcome(job, None, error=_died(code))
                        if waiting and not stopping.requested():
                            number = crew.index(worker)
                            crew[number] = self._start(number, workplace)
                            self._next(crew[number], waiting)
                        continue
                    if kind == "progress":
                        progress(worker.job, *content)
                    elif kind == "stopped":
                        worker.job = None
                    elif kind == "refused":
                        raise UsageError(content)
                    else:
                        job, (fresh, error) = worker.job, content
                        self._next(worker, waiting)
                        record = None if error else workplace.store.read(job.spec.run_id)
                        yield Outcome(job, record, fresh, error)
            if stopping.requested():
                raise KeyboardInterrupt
        finally:
            for worker in crew:
                worker.pipe.close()
                if worker.job:
                    worker.process.kill()
            for worker in crew:
                worker.process.join()

    def _start(self, number: int, workplace: Workplace) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, workplace.store.root, workplace.data_folder, number)
        process = self._context.Process(target=_work, args=arguments, daemon=True)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a worker is born deaf to Ctrl-C: see _work
        process.start()
        signal.signal(signal.SIGINT, before)
        theirs.close()
        return _Worker(process, ours)

    def _stop(self, crew: list[_Worker]) -> None:
        """Passes the request to stop on to the workers, once."""
        for worker in crew:
            if worker.job and not worker.told:
                worker.process.terminate()
                worker.told = True

    def _next(self, worker: _Worker, waiting: deque[Job]) -> None:
        worker.job = waiting.popleft() if waiting and not stopping.requested() else None
        if worker.job:
            with suppress(BrokenPipeError):  # it died while it started: reading from it will say so
                worker.pipe.send(worker.job)


def _died(code: int | None) -> str:
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return f"its process died ({how}); the same command takes it up again"


def _work(pipe: Connection, store: Path, data_folder: Path, number: int) -> None:
    """A worker process: takes jobs until the pipe closes."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    import torch

    if devices is None and torch.cuda.device_count() > 1:
        torch.cuda.set_device(number % torch.cuda.device_count())
    workplace = Workplace(Store(store), data_folder)

    def tell(kind: str, content: Any) -> None:
        try:
            pipe.send((kind, content))
        except OSError:  # the driver is gone: nobody is left to work for
            os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the driver passes it on
    with stopping.graceful(signal.SIGTERM):
        while _work_once(pipe, workplace, tell):
            pass


def _work_once(pipe: Connection, workplace: Workplace, tell: Callable[[str, Any], None]) -> bool:
    """Takes one job and says how it ended; False when there is nothing more to do."""
    try:
        job: Job = pipe.recv()
    except EOFError:
        return False
    try:
        outcome = perform(job, workplace, lambda phase, share: tell("progress", (phase, share)))
    except UsageError as error:
        tell("refused", str(error))
    except KeyboardInterrupt:
        tell("stopped", None)
        return False
    else:
        tell("done", (outcome.fresh, outcome.error))
    return True
