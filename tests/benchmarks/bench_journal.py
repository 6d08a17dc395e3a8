"""What the journal costs: the same run with it and without it, in turns.

    pytest tests/benchmarks -o python_files='bench_*.py' --benchmark-group-by=func

The two groups' medians give the ratio; `test_the_ratio` prints it from its own alternating runs.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import pytest

import bench.runner.run
from bench.journal.protocol import Forgetful
from bench.records.store import Store
from bench.runner.jobs import Job, RunRequest, make_plan
from bench.runner.run import Workplace, execute


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(Store(tmp_path_factory.mktemp("store")), tmp_path_factory.mktemp("data"))


def _job(method: str) -> Job:
    return make_plan(RunRequest(methods=(method,), targets=("macs=0.25",)))[0]


@contextmanager
def _journal(kept: bool) -> Iterator[None]:
    before = bench.runner.run._journal
    if not kept:
        bench.runner.run._journal = lambda *_: Forgetful()  # type: ignore[assignment,return-value]
    try:
        yield
    finally:
        bench.runner.run._journal = before


@pytest.mark.parametrize("kept", [True, False], ids=["journal", "forgetful"])
@pytest.mark.parametrize("method", ["hbfp", "l1"])
def test_run(benchmark: Any, place: Workplace, method: str, kept: bool) -> None:
    job = _job(method)
    with _journal(kept):
        benchmark.pedantic(execute, (job, place), rounds=3, warmup_rounds=1)


def test_the_ratio(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    job = _job("hbfp")
    execute(job, place)
    ratios = []
    for _ in range(5):
        seconds = []
        for kept in (True, False):
            with _journal(kept):
                begun = time.perf_counter()
                record = execute(job, place)
                seconds.append(time.perf_counter() - begun)
                assert record.status == "ok"
        ratios.append(seconds[0] / seconds[1])
    each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    with capsys.disabled():
        print(f"\nrun with journal / without: median {median(ratios):.3f} of {each}")
