"""A store of thousands of real records, and what commands cost on it: CPU seconds, wall seconds and peak memory.

    python tests/benchmarks/large_store.py make FOLDER [RECORDS]      writes the store, 10,000 records by default
    python tests/benchmarks/large_store.py time FOLDER                runs the commands on it, and on an empty one

The records are copies of the committed ones with other seeds and run ids, so that they have the curves, layers and bits
of real runs. CPU seconds are of the command and of all that it starts: they count where a machine does other work.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.records.lookup import committed_results

LIMITS = {
    "run adds": 2.0,
    "show": 0.5,
    "gate": 3.0,
    "claims": 3.0,
    "leaderboard from nothing": 10.0,
    "leaderboard": 3.0,
}
"""Seconds, on a machine at rest; and each below 1 GB."""
RUN = ("run", "--method", "l1", "--budget", "3ep", "--target", "macs=0.5", "--wandb", "off")


def make(store: Path, records: int) -> None:
    """Writes the records; those of one source are runs of it with further seeds."""
    sources = sorted(path for path in committed_results().glob("*/record.json"))
    for number in range(records):
        fields = json.loads(sources[number % len(sources)].read_bytes())
        copy = number // len(sources)
        before, fields["seed"] = f"-s{fields['seed']}-", fields["seed"] + 100 * copy
        head = fields["run_id"].rpartition("-")[0].removesuffix(before.rstrip("-"))
        fields["run_id"] = f"{head}-s{fields['seed']}-{_hash(fields['run_id'], copy)}"
        for name in ("dense", "pruned"):
            if fields.get(name) and copy:  # other seeds come to other networks
                fields[name]["weights_sha256"] = hashlib.sha256(
                    f"{fields[name]['weights_sha256']}{copy}".encode()
                ).hexdigest()
        path = store / fields["run_id"] / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(fields, indent=1) + "\n")


def _hash(run_id: str, copy: int) -> str:
    return hashlib.sha256(f"{run_id} {copy}".encode()).hexdigest()[:12]


def timed(words: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak gigabytes (of the largest process) of a command."""
    code = (
        "import json, resource, subprocess, sys, time; begun = time.perf_counter(); "
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); wall = time.perf_counter() - begun; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1e6, done.returncode]))"
    )
    line = [sys.executable, "-c", code, sys.executable, "-m", "bench.cli", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    cpu, wall, peak, code_ = json.loads(done.stdout)
    if code_ not in (0, 1):
        raise SystemExit(f"bench {' '.join(words)} ended with {code_}")
    return cpu, wall, peak


def time_commands(store: Path) -> None:
    """Prints a Markdown table; the store gains a few runs."""
    rows: dict[str, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = ["--store", str(store.resolve())]
        one = sorted(store.glob("*/record.json"))[0].parent.name
        empty = [timed([*RUN, "--seed", str(900 + n), "--store", "empty"], folder) for n in (0, 1)][-1]
        timed([*RUN, "--seed", "902", *where], folder)  # the index and the first pages
        full = timed([*RUN, "--seed", "903", *where], folder)
        rows["run, empty store"], rows["run"] = empty, full
        rows["run adds"] = full[0] - empty[0], full[1] - empty[1], full[2]
        rows["show"] = timed(["show", one, *where], folder)
        rows["gate"] = timed(["gate", "--baseline", str(committed_results()), *where], folder)
        rows["claims"] = timed(["claims", *where], folder)
        shutil.rmtree(store / ".index", ignore_errors=True)
        rows["leaderboard from nothing"] = timed(["leaderboard", "--out", "page", *where], folder)
        timed([*RUN, "--seed", "904", *where], folder)
        rows["leaderboard"] = timed(["leaderboard", "--out", "page", *where], folder)
    print("| command | CPU seconds | wall seconds | peak GB | limit |\n|---|---|---|---|---|")
    for what, (cpu, wall, peak) in rows.items():
        print(f"| {what} | {cpu:.2f} | {wall:.2f} | {peak:.2f} | {LIMITS.get(what, '')} |")


if __name__ == "__main__":
    what, where = sys.argv[1], Path(sys.argv[2])
    if what == "make":
        make(where, int(sys.argv[3]) if len(sys.argv) > 3 else 10_000)
    else:
        time_commands(where)
