"""The plan's line: what is done, what is taken up, what failed, and how long the rest may take by earlier runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records.record import Record, Spent
from bench.records.store import Store
from bench.runner.forecast import Overview, overview
from bench.runner.jobs import Job, RunRequest, make_plan
from bench.runner.run import journal_folder

Plan = Callable[..., list[Job]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def plan(smoke_track: Path) -> Plan:
    def make(*methods: str, targets: tuple[str, ...] = ("macs=0.5",), seeds: tuple[int, ...] = (0,)) -> list[Job]:
        return make_plan(RunRequest(methods, (str(smoke_track),), targets, seeds))

    return make


def record_of(job: Job, whole: Record, seconds: float = 10.0, status: str = "ok") -> Record:
    """A record of that job whose method took so many seconds, after 2.5 s for the dense network."""
    spec = job.spec
    total = whole.ledger["dense"].model_copy(update={"device_seconds": 2.5 + seconds})
    assert isinstance(total, Spent)
    return whole.model_copy(
        update={
            "run_id": spec.run_id,
            "method": spec.method,
            "track": spec.track.name,
            "track_fields": spec.track.model_dump(mode="json"),
            "target": str(spec.target),
            "seed": spec.seed,
            "status": status,
            "ledger": {"dense": whole.ledger["dense"], "total": total},
        }
    )


def begin(job: Job, store: Store) -> Path:
    """The journal of an interrupted run."""
    folder = journal_folder(store, job.spec)
    folder.mkdir(parents=True)
    (folder / "head.json").write_text("{}")
    return folder


def line(seen: Overview, workers: int = 1) -> str:
    (only,) = seen.lines(workers)
    return only


def test_with_nothing_there_nothing_is_estimated(plan: Plan, store: Store) -> None:
    assert line(overview(plan("l1", "random"), store, [], False)) == "plan: 2 runs: 2 to run"
    assert line(overview(plan("l1"), store, [], False)) == "plan: 1 run: 1 to run"


def test_done_failed_interrupted_and_open_runs_are_counted(plan: Plan, store: Store, whole_record: Record) -> None:
    jobs = plan("l1", "random", seeds=(0, 1, 2))
    records = [record_of(jobs[0], whole_record), record_of(jobs[1], whole_record, status="failed")]
    begin(jobs[2], store)
    assert line(overview(jobs, store, records, False)) == (
        "plan: 6 runs: 1 done already, 1 failed before (--retry-failed runs them again), 1 interrupted and taken up, "
        "4 to run, about 48 s by earlier runs"
    )
    assert line(overview(jobs, store, records, True)) == (
        "plan: 6 runs: 1 done already, 1 interrupted and taken up, 5 to run, about 60 s by earlier runs"
    )


def test_when_all_is_done_there_is_no_time(plan: Plan, store: Store, whole_record: Record) -> None:
    jobs = plan("l1")
    records = [record_of(jobs[0], whole_record)]
    assert line(overview(jobs, store, records, False)) == "plan: 1 run: 1 done already, 0 to run"


def test_the_same_method_and_target_count_before_others_and_by_their_median(
    plan: Plan, store: Store, whole_record: Record
) -> None:
    earlier = plan("l1", seeds=(1, 2, 3))
    records = [record_of(job, whole_record, s) for job, s in zip(earlier, (10.0, 20.0, 600.0), strict=True)]
    records += [record_of(job, whole_record, 5000.0) for job in plan("random", seeds=(1, 2))]
    assert overview(plan("l1"), store, records, False).seconds == pytest.approx(22.0)
    # hbfp has not run yet: the median of all five
    assert overview(plan("hbfp"), store, records, False).seconds == pytest.approx(602.0)


def test_runs_on_another_budget_and_those_without_a_result_are_not_comparable(
    plan: Plan, store: Store, whole_record: Record
) -> None:
    (job,) = plan("l1")
    other = record_of(job, whole_record)
    fields = {**other.track_fields, "budget": {"dense_epochs": 400.0, "device_seconds": None}}
    for change in ({"track_fields": fields}, {"track": "other"}, {"ledger": {}}, {"pruned": None}):
        records = [other.model_copy(update={"run_id": "another", **change})]
        assert overview([job], store, records, False).seconds is None


@pytest.mark.parametrize(
    ("seconds", "workers", "said"),
    [(60.0, 1, "60 s"), (60.0, 2, "30 s"), (60.0, 8, "20 s"), (600.0, 1, "10 min"), (7200.0, 1, "2.0 h")],
)
def test_the_time_is_said_in_its_own_unit_and_shared_by_workers_that_have_work(
    seconds: float, workers: int, said: str
) -> None:
    seen = Overview(total=3, done=0, interrupted=0, failed=0, todo=3, seconds=seconds, stale=())
    assert line(seen, workers) == f"plan: 3 runs: 3 to run, about {said} by earlier runs"


def test_journals_of_the_same_name_with_other_settings_are_named_and_no_others(
    plan: Plan, store: Store, smoke_track: Path
) -> None:
    jobs = plan("hbfp")
    begin(jobs[0], store)
    (other,) = make_plan(RunRequest(("hbfp",), (str(smoke_track),), ("macs=0.5",), settings=("pairs=0.4",)))
    stale = begin(other, store)
    begin(plan("hbfp", targets=("macs=0.25",))[0], store)
    begin(plan("l1")[0], store)
    first, second = overview(jobs, store, [], False).lines(1)
    assert first == "plan: 1 run: 1 interrupted and taken up, 1 to run"
    assert second == (
        f"note: {stale} is of an interrupted run with other code or settings, and is not taken up; delete it if it is "
        "not needed"
    )
