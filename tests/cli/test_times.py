"""`bench measure`: stored networks in turns with their dense network; no test of a time."""

import json
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UsageError
from bench.own.export.load import stored
from bench.own.export.timing import time_in_turns, wait_for_quiet

RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"
RUNS = ("hbfp-digits-lenet5-macs0.5-s0", "l1-digits-lenet5-macs0.25-s0")


def test_networks_are_timed_beside_their_dense_one(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["measure", *RUNS, "--store", str(RESULTS), "--seconds", "0.01", "--batch", "2", "--json"]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    names = [(row["network"].rpartition("-")[0], row["runtime"]) for row in found]
    for name in ("", *RUNS):
        assert (name, "torch") in names
    assert found[0]["network"] == "dense"
    assert found[0]["latency"][0]["speedup"] == 1
    for row in found:
        assert row["latency"][0]["batch"] == 2
        assert row["latency"][0]["runs"] >= 10
        assert row["latency"][0]["median_seconds"] > 0


def test_networks_of_other_designs_are_not_mixed() -> None:
    one = stored(RUNS[0], RESULTS)
    other = type(one)(one.path, {**one.description, "classes": 7}, one.tensors, one.record, one.root)
    with pytest.raises(UsageError, match="one dense network"):
        time_in_turns([one, other], [1], 0.01, 1)


def test_a_run_without_a_network_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["measure", "l1-mnist-lenet5-macs0.5-s0", "--store", str(RESULTS)])
    assert left.value.code == 2
    assert "has no network" in capsys.readouterr().err


def test_a_busy_machine_is_waited_for_and_given_up() -> None:
    loads, slept = iter([2.0, 1.0, 0.1]), []
    wait_for_quiet(60, lambda: next(loads), slept.append)
    assert slept == [5, 5]
    with pytest.raises(UsageError, match="busy: 2.00"):
        wait_for_quiet(10, lambda: 2.0, slept.append)
