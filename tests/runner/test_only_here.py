"""A plugin that only this process knows, of a script or a notebook, is run here by an executor of processes too."""

from pathlib import Path

from bench import Method, Trial
from bench.plugins import only_here, registered
from bench.records.store import Store
from bench.runner.executor import ExecutorOptions
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace
from bench.runner.suite import run_suite
from bench.runner.workers import LocalProcesses


class OfAScript(Method):
    """Keeps the first channels."""

    name = "of-a-script"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove(trial.surgery.fit())


def test_it_runs_in_this_process(smoke_track: Path, tmp_path: Path, workplace: Workplace, copied_nursery: None) -> None:
    place = Workplace(Store(tmp_path / "runs"), workplace.data_folder)
    executor = LocalProcesses(ExecutorOptions())
    try:
        with registered("bench.methods", "bench.methods", Method, OfAScript):
            assert only_here()
            jobs = make_plan(RunRequest(("of-a-script",), (str(smoke_track),), ("macs=0.5",)), place.inputs)
            (outcome,) = run_suite(jobs, place, executor, lambda *_: None)
    finally:
        executor.close()
    assert not only_here()
    assert outcome.record is not None
    assert outcome.record.status == "ok", outcome.record.error
