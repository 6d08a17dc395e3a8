"""The note that a record was verified: only where it was run again and is equal, with what machine it was."""

import json
from pathlib import Path

from bench.checks.record.note import write_note
from bench.checks.record.rerun import RerunResult
from bench.records.evidence import VERIFIED, Evidence, evidence_below
from bench.records.record import parse_record

RESULTS = Path(__file__).resolve().parents[3] / "leaderboard" / "results"
SOURCE = next(RESULTS.glob("hbfp-digits-lenet5-macs0.5-s0-*")) / "record.json"


def test_a_badge_takes_a_second_run_on_another_machine(tmp_path: Path) -> None:
    record = parse_record(SOURCE.read_bytes(), str(SOURCE))
    folder = tmp_path / record.run_id
    folder.mkdir()
    (folder / "network.safetensors").touch()
    assert write_note(record, folder, RerunResult(False, "bitwise", "widths"), False) == "no note: it is not equal"
    assert write_note(record, folder, RerunResult(True, "bitwise"), True) == "no note: only its network was measured"
    assert evidence_below(tmp_path) == {record.run_id: Evidence(network=True, verified=False)}
    elsewhere = record.model_copy(
        update={"manifest": {**record.manifest, "hardware": {**record.manifest["hardware"], "processor": "another"}}}
    )
    said = write_note(elsewhere, folder, RerunResult(True, "within tolerance"), False)
    assert said == f"noted in {folder / VERIFIED}"
    assert json.loads((folder / VERIFIED).read_text())["run_id"] == record.run_id
    assert evidence_below(tmp_path) == {record.run_id: Evidence(network=True, verified=True)}
