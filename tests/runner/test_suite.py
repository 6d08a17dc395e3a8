"""Many runs: what is done is said so, what fails leaves the others alone, what is edited is new."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import Config, DataError, Method, Trial, UsageError
from bench.records.store import Store
from bench.runner.jobs import Job, RunRequest, make_plan
from bench.runner.run import Workplace
from bench.runner.suite import Outcome, check, run_suite
from bench.runner.workers import Inline

Suite = Callable[..., list[Outcome]]


class Moody(Method):
    """Fails as long as `fails` is set."""

    name = "moody"
    reference = "a toy"
    fails = True

    class Config(Config):
        """One setting."""

        mood: int = 0

    def prune(self, trial: Trial) -> None:
        """Halves, or fails."""
        if self.fails:
            raise ValueError("not today")
        trial.surgery.remove(trial.surgery.fit())


@pytest.fixture
def jobs(install: Callable[[type[Method]], None], smoke_track: Path) -> Callable[..., list[Job]]:
    install(Moody)

    def plan(*methods: str, settings: tuple[str, ...] = ()) -> list[Job]:
        return make_plan(RunRequest(methods, (str(smoke_track),), ("macs=0.5",), settings=settings, budget="2ep"))

    return plan


@pytest.fixture
def suite(workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Runs jobs in one new store, in this process."""
    place = Workplace(Store(tmp_path / "runs"), workplace.data_folder, workplace.loaded)

    def go(jobs: list[Job], retry_failed: bool = False) -> list[Outcome]:
        return list(run_suite(jobs, place, Inline(), lambda *_: None, retry_failed))

    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
    go.store = place.store  # type: ignore[attr-defined]
    return go


def ends(outcomes: list[Outcome]) -> list[tuple[str, str, bool]]:
    return [(each.job.spec.method, each.record.status if each.record else "", each.fresh) for each in outcomes]


def test_a_run_that_fails_leaves_the_others_alone_and_done_is_done(
    suite: Suite, jobs: Callable[..., list[Job]]
) -> None:
    plan = jobs("moody", "l1")
    assert ends(suite(plan)) == [("moody", "failed", True), ("l1", "ok", True)]
    assert ends(suite(plan)) == [("moody", "failed", False), ("l1", "ok", False)]


def test_what_failed_is_run_again_when_asked_and_nothing_else(
    suite: Suite, jobs: Callable[..., list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = jobs("moody", "l1")
    suite(plan)
    monkeypatch.setattr(Moody, "fails", False)
    assert ends(suite(plan, retry_failed=True)) == [("l1", "ok", False), ("moody", "ok", True)]
    assert ends(suite(plan, retry_failed=True)) == [("moody", "ok", False), ("l1", "ok", False)]


def test_an_edited_setting_is_another_run(suite: Suite, jobs: Callable[..., list[Job]]) -> None:
    first, second = suite(jobs("moody")), suite(jobs("moody", settings=("mood=1",)))
    assert second[0].fresh
    assert first[0].job.spec.run_id != second[0].job.spec.run_id


def test_a_record_that_cannot_be_read_is_replaced_by_a_new_run(suite: Suite, jobs: Callable[..., list[Job]]) -> None:
    plan = jobs("l1")
    suite(plan)
    suite.store.record_path(plan[0].spec.run_id).write_text("{")  # type: ignore[attr-defined]
    assert ends(suite(plan)) == [("l1", "ok", True)]
    assert ends(suite(plan)) == [("l1", "ok", False)]


@pytest.mark.parametrize(
    ("line", "by", "said"),
    [
        ('network = "lenet5"', 'network = "lenet6"', "unknown network 'lenet6'. Did you mean 'lenet5'"),
        ('dataset = "digits"', 'dataset = "digit"', "unknown dataset 'digit'. Did you mean 'digits'"),
        ("images = 800", "images = 1397", "1397 images cannot be drawn from 1397"),
    ],
)
def test_what_cannot_run_is_refused_before_there_is_a_store(
    smoke_track: Path, tmp_path: Path, line: str, by: str, said: str
) -> None:
    track = tmp_path / "edited.toml"
    track.write_text(smoke_track.read_text().replace(line, by))
    workplace = Workplace(Store(tmp_path / "runs"), tmp_path)
    with pytest.raises(UsageError, match=said):
        check(make_plan(RunRequest(("l1",), (str(track),)), workplace.inputs), workplace)
    assert not (tmp_path / "runs").exists()


def test_missing_data_are_refused_before_there_is_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.datasets._files._await_answer", lambda url: (_ for _ in ()).throw(OSError("offline")))
    workplace = Workplace(Store(tmp_path / "runs"), tmp_path / "data")
    with pytest.raises(DataError, match=r"data set 'mnist' is not complete.*--data DIR or BENCH_DATA"):
        check(make_plan(RunRequest(("l1",), ("mnist-lenet5",)), workplace.inputs), workplace)
    assert not (tmp_path / "runs").exists()
