"""Many runs: what is done already is said so, the rest goes through an executor, and each outcome comes back.

An executor only has to run jobs somewhere and say how each one ended: locks, records of what died, and what is tried
again are decided here, the same for all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.errors import UsageError
from bench.networks.registry import network_of
from bench.networks.weights import load_weights
from bench.records.record import UNFINISHED, Record, Status
from bench.runner.dense import build
from bench.runner.executor import Executor, Finish, How, Progress
from bench.runner.jobs import Job
from bench.runner.queue import JobQueue, clear_journal, readable
from bench.runner.record_builder import RecordBuilder
from bench.runner.run import Workplace
from bench.trial.methods import method_class

__all__ = ["Outcome", "check", "run_suite"]


_ATTEMPTS = 2
"""How often a run is begun whose process was killed from outside, or could not use the store or the data."""


@dataclass(frozen=True)
class Outcome:
    """How one job ended.

    Attributes:
        job: the job.
        record: its record; None where its journal was refused and there is none.
        fresh: whether it was run now (else its record was there already).
        error: why there is no record.
    """

    job: Job
    record: Record | None
    fresh: bool = True
    error: str | None = None


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
        retry_failed: run those again whose record says that they did not end well.

    Raises:
        UsageError: the store or the data could not be used by a run, twice; the other runs are done.
        KeyboardInterrupt: somebody asked to stop.
    """
    store, todo = workplace.store, []
    for job in jobs:
        record = readable(store, job.spec.run_id)
        if record is None or (retry_failed and record.status in UNFINISHED):
            todo.append(job)
        else:
            clear_journal(store, job, record)
            yield Outcome(job, record, fresh=False)
    if not todo:
        return
    queue, again, unusable = JobQueue(todo, store, retry_failed), dict[str, int](), list[str]()
    try:
        for finish in executor.run(queue, workplace, progress):
            yield from _found(queue)
            times = again[finish.job.spec.run_id] = again.get(finish.job.spec.run_id, 0) + 1
            record = queue.fresh_record(finish.job)
            if record is None and finish.how in ("unusable", "lost") and times < _ATTEMPTS:
                progress(finish.job, f"tried again: {finish.why.splitlines()[-1]}", 0.0)
                queue.put_back(finish.job)
                continue
            if record is None and finish.how not in ("unusable", "refused", "stopped"):
                record = _write_end(finish, workplace)
            queue.release(finish.job)
            if record is not None:
                yield Outcome(finish.job, record)
            elif finish.how == "refused":
                yield Outcome(finish.job, None, error=finish.why)
            elif finish.how == "unusable":
                unusable.append(finish.why)
        yield from _found(queue)
    finally:
        queue.release_all()
    if unusable:
        raise UsageError(unusable[0])


def _found(queue: JobQueue) -> Iterator[Outcome]:
    while queue.found:
        job, record = queue.found.pop(0)
        yield Outcome(job, record, fresh=False)


def _write_end(finish: Finish, workplace: Workplace) -> Record:
    """The record of a run that could not write its own; its journal stays, so that it can go on from there."""
    statuses: dict[How, Status] = {"timed-out": "timed-out", "out-of-memory": "out-of-memory"}
    status = statuses.get(finish.how, "failed")
    builder = RecordBuilder(finish.job.spec, method_class(finish.job.spec.method), finish.job.command)
    record = builder.record(status, finish.why)
    workplace.store.write(record)
    return record
