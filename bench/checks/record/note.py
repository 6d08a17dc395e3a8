"""A note beside a record that it was verified, for the leaderboard's badge: what was done, where, and what came of it.

Anybody can write such a file, as anybody can write a record: it says who to ask, and `bench verify` tells again.
"""

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.checks.record.rerun import RerunResult
from bench.records.evidence import VERIFIED
from bench.records.hardware import hardware
from bench.records.record import Record
from bench.records.store import write_text

__all__ = ["write_note"]


def write_note(record: Record, folder: Path, verdict: RerunResult, measured_only: bool) -> str:
    """Writes the note where the record was run again and is equal.

    Args:
        record: what was verified.
        folder: where it lies.
        verdict: what came of it.
        measured_only: only the stored network was measured, which is no second run.

    Returns:
        A sentence on what was written.

    Raises:
        StoreError: the folder cannot be written.
    """
    if measured_only or not verdict.equal:
        why = "only its network was measured" if measured_only else "it is not equal"
        return f"no note: {why}"
    then, now = record.manifest.get("hardware"), hardware()
    then = then if isinstance(then, dict) else {}
    another = any(then.get(name) != now.get(name) for name in ("processor", "cpu_capability", "gpu", "cores"))
    note = {
        "run_id": record.run_id,
        "equal": verdict.equal,
        "how": verdict.how,
        "another_machine": another,
        "hardware": now,
        "version": version("bench"),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = folder / VERIFIED
    write_text(path, json.dumps(note, indent=1) + "\n")
    return f"noted in {path}" + ("" if another else "; this is the kind of machine that it was made on: no badge")
