"""Wall time of the same runs, carried out in different ways: needs a machine at rest, and prints what it measured.

    python tests/benchmarks/drivers.py two [--seconds 20]        one driver, and two with the same command on one store
    python tests/benchmarks/drivers.py ray [--seconds 60]        two workers by `local`, and by `ray` without its start

The runs are of a track of one thread and last about so many seconds each: their budget is one of time. Limits: two
drivers take at most 0.65 of one driver's time and do each run once; Ray takes at most 1.15 of local's time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 8
WORDS = ("run", "--method", "l1,random", "--track", "digits-lenet5", "--target", "macs=0.5", "--wandb", "off", "--json")


def command(store: Path, seconds: float, *more: str) -> list[str]:
    """The command, whose runs fine-tune until they have held the device for so long."""
    seeds = [word for seed in range(RUNS // 2) for word in ("--seed", str(seed))]
    budget = ["--budget", f"{seconds:g}s"]
    return [sys.executable, "-m", "bench.cli", *WORDS, *seeds, *budget, "--store", str(store), *more]


def start(words: list[str]) -> "subprocess.Popen[bytes]":
    """A driver; what it prints goes nowhere."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(*commands: list[str]) -> float:
    """Seconds until all of these commands, begun at once, have ended."""
    begun = time.perf_counter()
    drivers = [start(words) for words in commands]
    for driver in drivers:
        if driver.wait() not in (0, 1):
            raise SystemExit(f"a driver ended with {driver.returncode}")
    return time.perf_counter() - begun


def count(store: Path) -> int:
    """How many runs the store has, each with a record that was written once."""
    return len([json.loads(path.read_bytes())["run_id"] for path in store.glob("*/record.json")])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("two", "ray"))
    parser.add_argument("--seconds", type=float)
    asked = parser.parse_args()
    seconds = asked.seconds or (20.0 if asked.what == "two" else 60.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.what == "two":
            one = timed(command(folder / "one", seconds))
            two = timed(*[command(folder / "two", seconds)] * 2)
            assert count(folder / "one") == count(folder / "two") == RUNS
            print(f"one driver {one:.1f} s, two {two:.1f} s: {two / one:.2f} (limit 0.65)")
            return
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        address = ray.get_runtime_context().gcs_address
        local = timed(command(folder / "local", seconds, "--workers", "2"))
        remote = timed(command(folder / "ray", seconds, "--workers", "2", "--executor", "ray", "--address", address))
        assert count(folder / "local") == count(folder / "ray") == RUNS
        print(f"local {local:.1f} s, ray {remote:.1f} s: {remote / local:.2f} (limit 1.15)")


if __name__ == "__main__":
    main()
