"""`bench run` as one session: the plan's line, output that stays clean, exit codes, and W&B that may fail."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench import Method, Trial, UsageError
from bench.cli.session import Session
from bench.records.store import Store
from bench.runner.executor import Finish, How, Progress
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.queue import JobQueue
from bench.runner.run import Workplace, journal_folder
from bench.tracking.mode import choose_mode


class Halves(Method):
    """Keeps the first channels."""

    name = "halves"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove(trial.surgery.fit())


class Breaks(Method):
    """Fails."""

    name = "breaks"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        raise ValueError("not today")


@pytest.fixture
def session(
    install: Callable[[type[Method]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Session]:
    """`session(wandb="off")`: in a new store, without an account."""
    install(Halves)
    install(Breaks)
    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    return lambda wandb="off", **how: Session(tmp_path / "runs", tmp_path / "data", wandb, **how)


@pytest.fixture
def asked(smoke_track: Path) -> Callable[..., RunRequest]:
    def ask(*methods: str, seeds: tuple[int, ...] = (0,)) -> RunRequest:
        return RunRequest(methods, (str(smoke_track),), ("macs=0.5",), seeds, budget="2ep")

    return ask


def test_a_session_from_its_plan_to_its_exit_code(
    session: Callable[..., Session], asked: Callable[..., RunRequest], capfd: pytest.CaptureFixture[str]
) -> None:
    assert session().run(asked("halves", "breaks")) == 1
    said = capfd.readouterr()
    assert said.err.splitlines()[0] == "plan: 2 runs: 2 to run"
    assert "[2/2] breaks smoke macs=0.5 seed 0: failed\n" in said.err
    assert ": failed: ValueError: not today\n" in said.out
    assert "\nrecord  " not in said.out  # one path: the page
    assert said.out.splitlines()[-1].startswith("page    ")

    assert session().run(asked("halves")) == 0
    assert capfd.readouterr().err.splitlines()[0] == "plan: 1 run: 1 done already, 0 to run"

    # --json: an array of records, in the plan's order, and nothing else
    assert session(quiet=True).run(asked("breaks", "halves"), as_json=True) == 1
    said = capfd.readouterr()
    assert [(each["method"], each["status"]) for each in json.loads(said.out)] == [
        ("breaks", "failed"),
        ("halves", "ok"),
    ]
    plan = "plan: 2 runs: 1 done already, 1 failed before (--retry-failed runs them again), 0 to run"
    assert said.err.splitlines()[0] == plan
    assert "breaks smoke macs=0.5 seed 0: done already: failed (again with --retry-failed)\n" in said.err

    assert session().run(asked("halves", "breaks"), retry_failed=True) == 1
    said = capfd.readouterr()
    assert said.err.startswith("plan: 2 runs: 1 done already, 1 to run, about ")
    assert "breaks smoke macs=0.5 seed 0: failed\n" in said.err


def test_a_journal_of_other_settings_is_named_and_left_alone(
    session: Callable[..., Session], asked: Callable[..., RunRequest], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (job,) = make_plan(asked("halves"))
    stale = tmp_path / "runs" / (job.spec.run_id[:-12] + "0123456789ab") / "journal"
    stale.mkdir(parents=True)
    (stale / "head.json").write_text("{}")
    assert session().run(asked("halves")) == 0
    assert f"note: {stale} is of an interrupted run with other code or settings" in capfd.readouterr().err
    assert stale.is_dir()


def test_a_journal_that_no_longer_fits_is_refused_and_the_other_runs_go_on(
    session: Callable[..., Session], asked: Callable[..., RunRequest], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    jobs = make_plan(asked("halves", seeds=(0, 1)))
    folder = journal_folder(Store(tmp_path / "runs"), jobs[0].spec)
    folder.mkdir(parents=True)
    (folder / "head.json").write_text('{"torch": "1.0"}')
    assert session().run(asked("halves", seeds=(0, 1))) == 1
    said = capfd.readouterr()
    assert said.err.startswith("plan: 2 runs: 1 interrupted and taken up, 2 to run\n")
    assert f"{jobs[0].spec.run_id}: no record: an interrupted run cannot be taken up, since this changed: " in said.out
    assert f"To start it afresh, delete {folder}." in said.out
    assert Store(tmp_path / "runs").read(jobs[1].spec.run_id) is not None


# -- with runs that are made up -----------------------------------------------------------------------------------


class _Executor:
    """Takes a job for each end that it is given, and says that it ended so; is stopped after that, where asked."""

    def __init__(self, ends: Sequence[tuple[How, str]], interrupted: bool = False) -> None:
        self._ends, self._interrupted = ends, interrupted

    def run(self, queue: JobQueue, workplace: Workplace, progress: Progress) -> Iterator[Finish]:
        for how, why in self._ends:
            job = queue.take()
            assert job is not None
            yield Finish(job, how, why)
        if self._interrupted:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_session_says_so_and_ends_with_130(
    session: Callable[..., Session], asked: Callable[..., RunRequest], capfd: pytest.CaptureFixture[str], as_json: bool
) -> None:
    executor = _Executor([("refused", "does not fit"), ("stopped", "")], interrupted=True)
    assert session(executor=executor).run(asked("halves", seeds=(0, 1, 2)), as_json=as_json) == 130
    said = capfd.readouterr()
    assert "interrupted after 1 of 3 runs; the same command goes on from here.\n" in said.err
    assert (json.loads(said.out) == []) if as_json else ("no record: does not fit\n" in said.out)


@pytest.mark.parametrize(
    ("how", "status"), [("ended", "failed"), ("timed-out", "timed-out"), ("out-of-memory", "out-of-memory")]
)
def test_a_process_that_left_no_record_is_a_record_with_its_status_and_exit_code_1(
    session: Callable[..., Session],
    asked: Callable[..., RunRequest],
    capfd: pytest.CaptureFixture[str],
    how: How,
    status: str,
) -> None:
    assert session(executor=_Executor([(how, "it\nwas \x1b[31mended")])).run(asked("halves"), as_json=True) == 1
    said = capfd.readouterr()
    (record,) = json.loads(said.out)
    assert (record["status"], record["error"], record["pruned"]) == (status, "it\nwas \\x1b[31mended", None)
    assert session().run(asked("halves")) == 1
    assert f"done already: {status} (again with --retry-failed)\n" in capfd.readouterr().err
    assert session().run(asked("halves"), retry_failed=True) == 0


def test_a_lost_run_and_one_that_could_not_use_the_store_are_tried_again(
    session: Callable[..., Session], asked: Callable[..., RunRequest], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="the disk is full"):
        session(executor=_Executor([("unusable", "the disk is full")] * 2)).run(asked("halves"))
    assert session(executor=_Executor([("lost", "its node is gone")] * 2)).run(asked("halves")) == 1
    said = capfd.readouterr()
    assert "tried again: the disk is full\n" in said.err
    assert "tried again: its node is gone\n" in said.err
    assert ": failed: its node is gone\n" in said.out


# -- W&B ----------------------------------------------------------------------------------------------------------


def test_a_bad_key_costs_one_warning_and_the_runs_are_ok(
    session: Callable[..., Session],
    asked: Callable[..., RunRequest],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "bad")
    assert choose_mode("auto", os.environ) == "online"
    assert session("auto").run(asked("halves", seeds=(0, 1)), as_json=True) == 0
    said = capfd.readouterr()
    assert [each["status"] for each in json.loads(said.out)] == ["ok", "ok"]
    warnings = [line for line in said.err.splitlines() if "warning" in line]
    assert len(warnings) == 1, warnings
    assert warnings[0].startswith("warning: W&B (online) failed and is off from here on: ")
    assert "--wandb off" in warnings[0]
    assert "Traceback" not in said.err
