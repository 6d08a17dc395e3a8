"""A small factory of records."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.record import Record

MakeRecord = Callable[..., Record]


@pytest.fixture
def make_record() -> MakeRecord:
    """`make_record(method="l1", seed=0, top1=0.8, ...)`: a whole record; other fields as in `Record`."""
    return _make


def _make(
    *,
    method: str = "l1",
    target: str = "macs=0.5",
    seed: int = 0,
    top1: float = 0.8,
    dense_top1: float = 0.9,
    macs: int = 500_000,
    pruned_ms: tuple[float, float] = (1.0, 6.0),
    device_class: str = "cpu",
    **fields: Any,
) -> Record:
    dense = _measured(dense_top1, 1_000_000, (2.0, 12.0))
    spent = {
        "steps": 10,
        "images_forward": 20,
        "images_trained": 30,
        "macs": 45_000,
        "device_seconds": 60.0 + seed,
    }
    record: dict[str, Any] = {
        "run_id": f"{method}-digits-{target.replace('=', '')}-s{seed}-0123456789ab",
        "status": "ok",
        "method": method,
        "kind": "structured",
        "control": False,
        "config": {},
        "track": "digits",
        "track_fields": {
            "summary": "Handwritten digits.",
            "dataset": "digits",
            "network": "lenet5",
            "floor": 0.95,
        },
        "target": target,
        "seed": seed,
        "dense": dense,
        "pruned": _measured(top1, macs, pruned_ms),
        "ratios": {"macs": macs / 1e6, "params": 0.4, "compression": 2.5, "filters_removed": 0.5},
        "budget": {"amount": 50.0, "unit": "dense_epochs", "dense_epoch_macs": 1000},
        "ledger": {"total": spent},
        "curve": [{"phase": "finetune", "epoch": 40, "spent": 45.0, "values": {"top1_val": top1}}],
        "manifest": {
            "command": f"bench run --method {method} --target {target} --seed {seed}",
            "device_class": device_class,
        },
    }
    return Record.model_validate(record | fields)


def _measured(top1: float, macs: int, milliseconds: tuple[float, float]) -> dict[str, Any]:
    return {
        "top1_val": top1,
        "top1_test": top1,
        "correct_test": "",
        "macs": macs,
        "macs_nonzero": macs // 2,
        "params": macs // 10,
        "nonzero": macs // 10,
        "bytes": 4 * macs,
        "peak_bytes": 8 * macs,
        "latency": [
            {"batch": batch, "median_seconds": value / 1e3, "iqr_seconds": 1e-5, "runs": 100}
            for batch, value in zip((1, 64), milliseconds, strict=True)
        ],
        "weights_sha256": "ab",
    }
