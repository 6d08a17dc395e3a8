"""Two processes at the same run or the same store: the work is done once, and nothing is lost or mixed up."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.records.store import read_records

WRITER = """
import sys
from pathlib import Path
from bench.records.record import parse_record
from bench.records.store import Store
store, record = Store(Path(sys.argv[1])), parse_record(Path(sys.argv[2]).read_bytes(), "given")
for seed in range(40):
    with store.lock("shared"):
        count = store.root / "count"
        count.write_text(str(int(count.read_text()) + 1) if count.exists() else "1")
    store.write(record.model_copy(update={"seed": seed}))
    assert store.read(record.run_id).seed in range(40)
"""


def test_two_writers_of_one_record_leave_a_whole_one_and_their_lock_keeps_them_apart(
    tmp_path: Path, whole_record: object
) -> None:
    given = tmp_path / "given.json"
    given.write_text(whole_record.to_json())  # type: ignore[attr-defined]
    command = [sys.executable, "-c", WRITER, str(tmp_path / "runs"), str(given)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
    (record,), unreadable = read_records(tmp_path / "runs")
    assert (record.seed, unreadable) == (39, [])
    assert (tmp_path / "runs" / "count").read_text() == "80"
    assert [path.name for path in (tmp_path / "runs" / record.run_id).iterdir()] == ["record.json"]


def test_two_commands_for_the_same_run_do_it_once_and_both_report_it(smoke_track: Path, tmp_path: Path) -> None:
    words = ["run", "--method", "l1", "--track", str(smoke_track), "--target", "macs=0.5", "--budget", "3ep"]
    command = [
        sys.executable,
        "-m",
        "bench.cli",
        *words,
        "--store",
        str(tmp_path / "runs"),
        "--wandb",
        "off",
        "--memory",
        "none",
        "--json",
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "BENCH_"))}
    both = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    one, other = (json.loads(out) for out, _ in answers)
    assert one == other
    assert sum("done already" in said for _, said in answers) <= 1
    (record,), unreadable = read_records(tmp_path / "runs")
    assert (one[0]["run_id"], unreadable) == (record.run_id, [])
    assert record.run_id in "".join(path.read_text() for path in (tmp_path / "runs" / "page").glob("*.html"))
