"""What a ranking costs: 10,000 made-up records, as many small tables and as one large one.

    pytest tests/benchmarks -o python_files='bench_*.py' -k ranking

The rival of the paired tests is scipy's own, on the same columns with a missing seed.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.leaderboard.board.summary import summarise
from bench.leaderboard.stats.statistics import paired_t
from bench.records.record import Record


@pytest.mark.parametrize(
    "numbers",
    [{"tracks": 100, "methods": 20}, {"targets": 10, "methods": 200}],
    ids=["100 tracks x 20 methods", "10 targets x 200 methods"],
)
def test_ranking(
    benchmark: Any,
    synthetic_records: Callable[..., list[Record]],
    numbers: dict[str, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = synthetic_records(**numbers)
    board = benchmark.pedantic(summarise, (records,), rounds=3, warmup_rounds=0)
    assert sum(track.runs for track in board.tracks) == len(records) == 10_000
    with capsys.disabled():
        print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, records included")


def test_paired_t_and_scipy(capsys: pytest.CaptureFixture[str]) -> None:
    from scipy.stats import ttest_rel

    differences = np.random.default_rng(0).standard_normal((5, 19_900))
    differences[0, 0] = np.nan
    seconds = []
    for run in (
        lambda: paired_t(differences).p,
        lambda: ttest_rel(differences, np.zeros_like(differences), nan_policy="omit").pvalue,
    ):
        begun = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - begun)
        assert np.asarray(found).shape == (19_900,)
    with capsys.disabled():
        print(f"\nscipy.stats.ttest_rel with a missing seed / paired_t: {seconds[1] / seconds[0]:.0f}")
