"""Several drivers on one store: each takes what no other holds, and finds what another has done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records.record import Record
from bench.records.store import Store
from bench.runner.jobs import Job, RunRequest, make_plan
from bench.runner.queue import JobQueue


@pytest.fixture
def jobs(smoke_track: Path) -> list[Job]:
    return make_plan(RunRequest(("l1",), (str(smoke_track),), seeds=(0, 1)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def done(store: Store, whole_record: Record) -> Callable[..., None]:
    """Writes a record of a job."""
    return lambda job, status="ok": store.write(
        whole_record.model_copy(update={"run_id": job.spec.run_id, "status": status})
    )


def test_two_drivers_take_every_job_once(jobs: list[Job], store: Store) -> None:
    one, two = JobQueue(jobs, store), JobQueue(jobs, store)
    taken = [one.take(), two.take(), one.take(), two.take()]
    assert [job.spec.run_id for job in taken if job] == [job.spec.run_id for job in jobs]
    assert one.take() is None and two.take() is None
    assert (one.left, two.left) == (2, 2)  # those of the other: they may still die
    one.release_all()
    rest = [two.take(), two.take()]
    assert sorted(job.spec.run_id for job in rest if job) == sorted(taken[i].spec.run_id for i in (0, 2))


def test_what_another_driver_has_done_is_found_and_not_run_again(
    jobs: list[Job], store: Store, done: Callable[..., None]
) -> None:
    queue = JobQueue(jobs, store)
    done(jobs[0])
    assert queue.take() is jobs[1]
    assert [(job, record.status) for job, record in queue.found] == [(jobs[0], "ok")]


def test_a_failed_run_that_another_driver_has_just_tried_again_is_found_too(
    jobs: list[Job], store: Store, done: Callable[..., None]
) -> None:
    done(jobs[0], "failed")
    done(jobs[1], "timed-out")
    queue = JobQueue(jobs[:2], store, retry_failed=True)
    done(jobs[1], "timed-out")
    assert queue.take() is jobs[0]
    assert queue.take() is None
    assert [(job, record.status) for job, record in queue.found] == [(jobs[1], "timed-out")]


def test_only_a_record_that_was_written_since_counts_as_fresh(
    jobs: list[Job], store: Store, done: Callable[..., None]
) -> None:
    done(jobs[0], "failed")
    queue = JobQueue(jobs[:1], store, retry_failed=True)
    assert queue.take() is jobs[0]
    assert queue.fresh_record(jobs[0]) is None
    done(jobs[0], "failed")
    assert queue.fresh_record(jobs[0]) is not None
    store.record_path(jobs[0].spec.run_id).write_text("{")
    assert queue.fresh_record(jobs[0]) is None
