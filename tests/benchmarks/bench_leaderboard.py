"""Ten thousand synthetic records ranked and drawn: `pytest tests/benchmarks/bench_leaderboard.py`.

The limit is ten seconds and 1 GB; `test_the_limit` runs it in a process of its own, on one core, record by record as
`bench leaderboard` does, and prints both. Making up the records is not counted. Not part of the suite: it times.
"""

import base64
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.site import write_leaderboard
from bench.records.record import Record

TRACKS, METHODS, TARGETS, SEEDS, IMAGES, POINTS = 10, 20, 10, 5, 10_000, 40


def synthetic(tracks: int = TRACKS) -> Iterator[Record]:
    """`tracks` x 20 methods x 10 targets x 5 seeds, each with a curve of 40 points and bits of 10,000 test images."""
    rng = random.Random(0)
    for track in range(tracks):
        for method in range(METHODS):
            for number in range(TARGETS):
                for seed in range(SEEDS):
                    yield _record(rng, f"track-{track}", f"method-{method}", round(1 - 0.09 * number, 2), seed)


def _record(rng: random.Random, track: str, method: str, keep: float, seed: int) -> Record:
    wrong = rng.getrandbits(IMAGES) & rng.getrandbits(IMAGES) & rng.getrandbits(IMAGES)
    bits = (1 << IMAGES) - 1 - wrong
    spent = {"steps": 1000, "images_forward": 0, "images_trained": 64_000, "macs": 10**12, "device_seconds": 10.0}
    fields: dict[str, Any] = {
        "run_id": f"{method}-{track}-macs{keep}-s{seed}-{rng.getrandbits(48):012x}",
        "status": "ok",
        "method": method,
        "kind": "structured",
        "control": method == "method-0",
        "config": {"rate": 0.1, "rounds": 3, "scope": "all"},
        "track": track,
        "track_fields": {
            "summary": "A synthetic track.",
            "dataset": "mnist",
            "network": "lenet5",
            "targets": [f"macs={round(1 - 0.09 * i, 2)}" for i in range(TARGETS)],
            "ranked": True,
        },
        "target": f"macs={keep}",
        "seed": seed,
        "dense": _measured(0.9, 1_000_000, (1 << IMAGES) - 1),
        "pruned": _measured(bits.bit_count() / IMAGES, int(1_000_000 * keep), bits)
        | {"weights_sha256": f"{method}-{track}-{keep}-{seed}"},
        "ratios": {"macs": keep, "params": keep, "compression": 1 / keep, "filters_removed": 1 - keep},
        "layers": [
            {"name": f"conv{i}", "width_before": 64, "width_after": 32, "params": 100, "nonzero": 100, "macs": 1000}
            for i in range(12)
        ],
        "budget": {"amount": 40.0, "unit": "dense_epochs", "dense_epoch_macs": 10**11},
        "ledger": dict.fromkeys(("dense", "prune", "search", "finetune", "total"), spent),
        "curve": [
            {
                "phase": "dense" if i < 20 else "finetune",
                "epoch": i + 1,
                "spent": i + 1.0,
                "values": {
                    "train_loss": rng.random(),
                    "learning_rate": rng.random(),
                    "macs": 1_000_000 * keep,
                    "top1_val": rng.random(),
                },
            }
            for i in range(POINTS)
        ],
        "manifest": {
            "command": f"bench run --method {method} --track {track} --target macs={keep} --seed {seed}",
            "device_class": "cpu",
            "method_sha256": "ab" * 32,
            "dense_sha256": f"{track}-{seed}",
            "data_fingerprint": "cd" * 32,
            "precision": "float32",
            "libraries": {"torch": "2.14.1", "numpy": "2.4.6"},
            "hardware": {"processor": "x", "cores": 2},
        },
    }
    return Record.model_validate(fields)


def _measured(top1: float, macs: int, bits: int) -> dict[str, Any]:
    return {
        "top1_val": top1,
        "top1_test": top1,
        "correct_test": base64.b64encode(bits.to_bytes(IMAGES // 8, "big")).decode(),
        "macs": macs,
        "macs_nonzero": macs,
        "params": macs // 10,
        "nonzero": macs // 10,
        "bytes": 4 * macs,
        "peak_bytes": 8 * macs,
        "latency": [{"batch": b, "median_seconds": b * 1e-4, "iqr_seconds": 1e-5, "runs": 100} for b in (1, 64)],
        "weights_sha256": f"{macs}",
    }


@pytest.fixture(scope="module")
def thousand() -> list[Record]:
    return list(synthetic(tracks=1))


def test_rank_a_thousand(benchmark: Any, thousand: list[Record]) -> None:
    benchmark.pedantic(summarise, (thousand,), rounds=3, warmup_rounds=1)


def test_rank_and_draw_a_thousand(benchmark: Any, thousand: list[Record], tmp_path: Path) -> None:
    benchmark.pedantic(write_leaderboard, (thousand, [], tmp_path), rounds=3, warmup_rounds=1)


def test_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    said = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=True, env=environment
    )
    found = json.loads(said.stdout)
    with capsys.disabled():
        print(f"\n{found}")
    assert found["pages"] > found["records"]
    assert found["peak_gigabytes"] < 1


def _limit(out: Path) -> dict[str, float]:
    from bench.leaderboard.pages.installed import installed_methods

    installed_methods()  # imports torch, as a run has done before it draws
    begun, cpu = time.perf_counter(), time.process_time()
    count, made = 0, [0.0, 0.0]

    def records() -> Iterator[Record]:
        nonlocal count
        source = synthetic()
        while True:
            before = time.perf_counter(), time.process_time()
            record = next(source, None)
            made[0] += time.perf_counter() - before[0]
            made[1] += time.process_time() - before[1]
            if record is None:
                return
            count += 1
            yield record

    write_leaderboard(records(), [], out)
    return {
        "records": count,
        "pages": len(list(out.glob("*.html"))),
        "ranked_and_drawn_seconds": round(time.perf_counter() - begun - made[0], 2),
        "ranked_and_drawn_cpu_seconds": round(time.process_time() - cpu - made[1], 2),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3),
    }


if __name__ == "__main__":
    print(json.dumps(_limit(Path(sys.argv[1]))))
