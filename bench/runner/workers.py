"""Runs on this machine: each in a process of its own, several at once where asked.

A run's process that dies takes only its own run with it, whatever killed it; a driver that dies takes all of them along
(`keeper`).
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from pickle import dumps
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.journal import interrupt
from bench.plugins import only_here
from bench.records.text import plain
from bench.runner.executor import ExecutorOptions, Finish, Progress
from bench.runner.keeper import Ended
from bench.runner.nursery import Nursery, Order
from bench.runner.output_log import LOG
from bench.runner.run_process import REFUSED, STOPPED, UNUSABLE, Task

if TYPE_CHECKING:
    from bench.runner.jobs import Job
    from bench.runner.queue import JobQueue
    from bench.runner.run import Workplace

__all__ = ["Inline", "LocalProcesses", "Worker", "device_tokens", "finish_of"]

_POLL_SECONDS = 0.5
_LOG_SHOWN = 2000
_WAITING = "waiting: another process runs it"


class Inline:
    """One run after the other in this very process, for a debugger: a plugin can hurt the runs after it."""

    def __init__(self, options: ExecutorOptions | None = None) -> None:
        pass

    def run(self, queue: JobQueue, workplace: Workplace, progress: Progress) -> Iterator[Finish]:
        """How each job ended."""
        from bench.journal.protocol import JournalRefused
        from bench.runner.run import execute

        while queue.left:
            job = queue.take()
            if job is None:
                interrupt.pause(_POLL_SECONDS)
                continue
            try:
                execute(job, workplace, lambda phase, share, job=job: progress(job, phase, share))  # type: ignore[misc]
                yield Finish(job, "ended")
            except JournalRefused as error:
                yield Finish(job, "refused", str(error))
            except UsageError as error:
                yield Finish(job, "unusable", str(error))
        if interrupt.requested():
            raise KeyboardInterrupt

    def close(self) -> None:
        """Nothing to give back."""


@dataclass
class Worker:
    """A run under way, from its driver's side."""

    number: int
    job: Job
    socket: socket.socket
    buffer: bytes = b""
    ended: Ended | None = None
    told: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)

    def hear(self) -> bool:
        """Reads what the keeper says; False when it has said its last."""
        try:
            content = self.socket.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError:
            content = b""
        *lines, self.buffer = (self.buffer + content).split(b"\n")
        self.messages += [json.loads(line) for line in lines]
        return bool(content)

    def take_messages(self) -> list[dict[str, Any]]:
        """What was heard of its progress since the last time; its end is kept in `ended`."""
        heard, self.messages = self.messages, []
        for message in heard:
            if "ended" in message:
                self.ended = Ended(**message["ended"])
        return [message for message in heard if "progress" in message]

    def stop(self) -> None:
        """Passes a request to stop on, once."""
        if not self.told:
            self.told = True
            with suppress(OSError):
                self.socket.sendall(b"stop\n")


class LocalProcesses:
    """Processes on this machine; on one with GPUs, worker i takes the i-th of those that may be used.

    Args:
        options: how many at once (more than there are GPUs share them), and the limits of each.
    """

    def __init__(self, options: ExecutorOptions) -> None:
        self._workers, self._limits = options.workers, options.limits
        self._nursery = Nursery()

    def close(self) -> None:
        """Ends the process that runs come from."""
        self._nursery.close()

    def run(self, queue: JobQueue, workplace: Workplace, progress: Progress) -> Iterator[Finish]:
        """How each job ended, as they end.

        Raises:
            KeyboardInterrupt: somebody asked to stop; every run is kept where it is.
        """
        if only_here():  # a script's own plugins: no other process would find them
            yield from Inline().run(queue, workplace, progress)
            return
        busy: dict[int, Worker] = {}
        told: set[str] = set()
        with selectors.DefaultSelector() as selector:
            try:
                while queue.left or busy:
                    while len(busy) < self._workers and (job := queue.take()):
                        number = next(number for number in range(self._workers) if number not in busy)
                        busy[number] = Worker(number, job, self._nursery.launch(self._order(job, number, workplace)))
                        selector.register(busy[number].socket, selectors.EVENT_READ, number)
                    for job in queue.waiting if not busy else ():
                        if job.spec.run_id not in told:
                            told.add(job.spec.run_id)
                            progress(job, _WAITING, 0.0)
                    if interrupt.requested():
                        for worker in busy.values():
                            worker.stop()
                    if not busy:
                        interrupt.pause(_POLL_SECONDS)
                        continue
                    for key, _events in selector.select(_POLL_SECONDS):
                        worker = busy[key.data]
                        alive = worker.hear()
                        for message in worker.take_messages():
                            progress(worker.job, *message["progress"])
                        if not alive or worker.ended:
                            selector.unregister(worker.socket)
                            worker.socket.close()
                            del busy[worker.number]
                            log = workplace.store.folder(worker.job.spec.run_id) / LOG
                            yield finish_of(worker.job, worker.ended, worker.told, log)
                if interrupt.requested():
                    raise KeyboardInterrupt
            finally:
                for worker in busy.values():
                    worker.socket.close()  # its keeper ends it

    def _order(self, job: Job, number: int, workplace: Workplace) -> Order:
        store = workplace.store.root.absolute()
        device = device_tokens()[number % len(device_tokens())] if job.spec.device == "cuda" else None
        task = Task(dumps(job), store, workplace.data_folder.absolute(), device)
        return Order(task, store / job.spec.run_id / LOG, self._limits)


def device_tokens() -> list[str]:
    """What CUDA_VISIBLE_DEVICES can be set to for one of the GPUs that may be used: those it lists, else all."""
    import torch

    listed = [token.strip() for token in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if any(listed):
        return [token for token in listed if token]
    return [str(number) for number in range(torch.cuda.device_count())] or [""]


def finish_of(job: Job, ended: Ended | None, asked_to_stop: bool, log: Path) -> Finish:
    """How a job ended, from how its process did; `asked_to_stop`: by us.

    Args:
        job: the job.
        ended: what its keeper said; None where the keeper itself was killed.
        asked_to_stop: whether the driver had passed a request to stop on.
        log: the file of its output.
    """
    if ended is None:
        return Finish(job, "stopped" if asked_to_stop else "lost", _died("it and its keeper were killed", log))
    if ended.how == "timed-out":
        why = f"it was ended after {ended.limit} (--timeout). Its calls are kept: --retry-failed goes on from there."
        return Finish(job, "timed-out", _with_output(why, log))
    if ended.how == "out-of-memory":
        return Finish(job, "out-of-memory", _with_output(f"it took more memory than {ended.limit} (--memory).", log))
    if ended.code in (REFUSED, UNUSABLE) and ended.said:
        return Finish(job, "refused" if ended.code == REFUSED else "unusable", ended.said)
    if asked_to_stop and (ended.code == STOPPED or (ended.code is not None and ended.code < 0)):
        return Finish(job, "stopped")
    if ended.code == STOPPED:
        return Finish(job, "ended", _died("it was told to stop by SIGTERM, but not by this command", log))
    killed = ended.code == -signal.SIGKILL
    return Finish(job, "lost" if killed else "ended", _died(_code(ended.code), log))


def _code(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"signal {-code}, {name}{' by somebody, or as memory ran out' if code == -signal.SIGKILL else ''}"


def _died(how: str, log: Path) -> str:
    why = f"its process ended before its record was written ({how}). --retry-failed takes it up again."
    return _with_output(why, log)


def _with_output(why: str, log: Path) -> str:
    """With the end of what it printed, on lines before."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_SHOWN))
            end = file.read(_LOG_SHOWN).decode("utf-8", "replace").strip()
    except OSError:
        end = ""
    return f"{plain(end)}\n{why}" if end else why
