"""What a ranking costs: 10,000 made-up records, as many small tables and as one large one.

pytest tests/benchmarks -o python_files='bench_*.py' -k ranking
"""

import resource
from collections.abc import Callable
from typing import Any

import pytest

from bench.leaderboard.board.summary import summarise
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
