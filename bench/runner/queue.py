"""What is still to be done, shared with every other driver that works on the same store.

A driver takes the next run that nobody holds, holds it by a lock in the store until its record is there, and comes back
later to those that others hold: so two commands, on one machine or on a shared folder, share the work.
"""

import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from filelock import FileLock

from bench.errors import StoreError
from bench.journal import interrupt
from bench.records.record import UNFINISHED, Record
from bench.records.store import Store
from bench.runner.jobs import Job
from bench.runner.live import LIVE
from bench.runner.run import journal_folder

__all__ = ["JobQueue", "clear_journal", "readable"]


@dataclass
class _Held:
    lock: FileLock
    before: tuple[int, int] | None


class JobQueue:
    """Jobs of one plan, for one executor.

    Args:
        jobs: those that are not done.
        store: where locks and records are.
        retry_failed: a record of a run that did not end well does not count as done.
    """

    def __init__(self, jobs: Sequence[Job], store: Store, retry_failed: bool = False) -> None:
        self._waiting = deque(jobs)
        self._store, self._retry = store, retry_failed
        self._held: dict[str, _Held] = {}
        self._planned = {job.spec.run_id: store.stamp(job.spec.run_id) for job in jobs}
        self.found: list[tuple[Job, Record]] = []
        """Jobs that another driver has done meanwhile."""

    @property
    def left(self) -> int:
        """Jobs that nobody has taken here: none when somebody asked to stop."""
        return 0 if interrupt.requested() else len(self._waiting)

    @property
    def waiting(self) -> tuple[Job, ...]:
        """The same, one by one."""
        return tuple(self._waiting)

    def take(self) -> Job | None:
        """The next job that no other driver works on; None where there is none, for now or at all."""
        for _ in range(self.left):
            job = self._waiting.popleft()
            lock = self._store.try_lock(job.spec.run_id)
            if lock is None:
                self._waiting.append(job)
                continue
            record, stamp = readable(self._store, job.spec.run_id), self._store.stamp(job.spec.run_id)
            old = stamp == self._planned[job.spec.run_id]  # else another driver has just run it, with whatever end
            if record is None or (self._retry and old and record.status in UNFINISHED):
                self._held[job.spec.run_id] = _Held(lock, stamp)
                return job
            lock.release()
            clear_journal(self._store, job, record)
            self.found.append((job, record))
        return None

    def put_back(self, job: Job) -> None:
        """A job that was taken is to be taken again, by whoever comes first."""
        self.release(job)
        self._waiting.append(job)

    def release(self, job: Job) -> None:
        """A job that was taken is nobody's any more."""
        if held := self._held.pop(job.spec.run_id, None):
            held.lock.release()

    def release_all(self) -> None:
        """The same for all that are held: the driver goes."""
        for run_id in list(self._held):
            self._held.pop(run_id).lock.release()

    def fresh_record(self, job: Job) -> Record | None:
        """The record that was written since the job was taken; None where there is no readable one."""
        held = self._held[job.spec.run_id]
        if self._store.stamp(job.spec.run_id) == held.before:
            return None
        return readable(self._store, job.spec.run_id)


def readable(store: Store, run_id: str) -> Record | None:
    """The record of a run; one that cannot be read counts as not there, and a new run replaces it."""
    try:
        return store.read(run_id)
    except StoreError:
        return None


def clear_journal(store: Store, job: Job, record: Record) -> None:
    """Removes the journal of a run that was killed after its record was written."""
    if record.status not in UNFINISHED:
        shutil.rmtree(journal_folder(store, job.spec), ignore_errors=True)
        (store.folder(job.spec.run_id) / LIVE).unlink(missing_ok=True)
