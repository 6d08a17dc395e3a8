"""Many runs: what is done already is said so, the rest goes through an executor, and each outcome comes back."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.errors import StoreError
from bench.journal.files import JournalRefused
from bench.networks.registry import network_of
from bench.networks.weights import load_weights
from bench.records.record import Record
from bench.records.store import Store
from bench.runner.dense import build
from bench.runner.jobs import Job
from bench.runner.run import Report, Workplace, execute, journal_folder

__all__ = ["Executor", "Outcome", "Progress", "check", "perform", "run_suite"]

Progress = Callable[[Job, str, float], None]


@dataclass(frozen=True)
class Outcome:
    """How one job ended.

    Attributes:
        job: the job.
        record: its record; None where the process died and there is none.
        fresh: whether it was run now (else its record was there already).
        error: why there is no record.
    """

    job: Job
    record: Record | None
    fresh: bool = True
    error: str | None = None


class Executor(Protocol):
    """Runs jobs somewhere. Records are in the workplace's store when their outcomes come back."""

    def run(self, jobs: Sequence[Job], workplace: Workplace, progress: Progress) -> Iterator[Outcome]:
        """Outcomes, as they come."""


def check(jobs: Sequence[Job], workplace: Workplace) -> None:
    """Loads the data and builds the network of every track, so that what cannot work ends before anything begins.

    Raises:
        UsageError: data are missing or damaged, a network is unknown or does not take the track's images.
    """
    for job in {(job.spec.track.model_dump_json(), job.spec.track.root): job for job in jobs}.values():
        track = job.spec.track
        plugin = network_of(track)
        data = workplace.data(job.spec)
        network = build(plugin, data, 0, fresh=track.weights is None)
        if track.weights is not None:
            load_weights(network, track.at(track.weights))
    workplace.store.prepare()


def perform(job: Job, workplace: Workplace, report: Report) -> Outcome:
    """Runs one job, unless its record is there; one process at a time does the same job."""
    run_id = job.spec.run_id
    with workplace.store.lock(run_id, waiting=lambda: report("waiting: another process runs it", 0.0)):
        record = _readable(workplace.store, run_id)
        if record is not None and record.status != "failed":
            return Outcome(job, record, fresh=False)
        try:
            return Outcome(job, execute(job, workplace, report))
        except JournalRefused as error:
            return Outcome(job, None, error=str(error))


def _readable(store: Store, run_id: str) -> Record | None:
    """The record of a run; one that cannot be read counts as not there, and a new run replaces it."""
    try:
        return store.read(run_id)
    except StoreError:
        return None


def run_suite(
    jobs: Sequence[Job],
    workplace: Workplace,
    executor: Executor,
    progress: Progress,
    retry_failed: bool = False,
) -> Iterator[Outcome]:
    """Outcomes of all jobs: first of those that are done already, then of the others as they end.

    Args:
        jobs: the plan.
        workplace: store and data.
        executor: runs what is not done.
        progress: told how far each run is.
        retry_failed: run those again whose record says `failed`.
    """
    todo = []
    for job in jobs:
        record = _readable(workplace.store, job.spec.run_id)
        if record is None or (retry_failed and record.status == "failed"):
            todo.append(job)
        else:
            if record.status != "failed":  # killed after its record was written; another process may retry a failed one
                shutil.rmtree(journal_folder(workplace.store, job.spec), ignore_errors=True)
            yield Outcome(job, record, fresh=False)
    if todo:
        yield from executor.run(todo, workplace, progress)
