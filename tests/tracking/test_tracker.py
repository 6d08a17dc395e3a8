"""Publishing to W&B: the mode, what an offline run holds when read back, and failures that cost no run."""

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from bench.errors import UsageError
from bench.records.record import Point, Record
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.live import LiveCurve
from bench.specs.run import RunSpec
from bench.tracking.mode import choose_mode
from bench.tracking.tracker import Tracker
from bench.tracking.values import run_config, run_summary, wandb_id

KEY = "0" * 40


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "WANDB_API_KEY",
        "WANDB_MODE",
        "WANDB_DIR",
        "WANDB_DATA_DIR",
        "WANDB_CACHE_DIR",
        "WANDB_PROJECT",
        "WANDB_ENTITY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def record() -> Record:
    measured = {
        "top1_val": 0.9,
        "top1_test": 0.875,
        "correct_test": "",
        "macs": 1000,
        "macs_nonzero": 1000,
        "params": 100,
        "nonzero": 100,
        "bytes": 400,
        "peak_bytes": 800,
        "latency": [{"batch": 1, "median_seconds": 0.002, "iqr_seconds": 0.0001, "runs": 10}],
        "weights_sha256": "ab",
    }
    spent = {"steps": 1, "images_forward": 2, "images_trained": 3, "macs": 4, "device_seconds": 2.5}
    return Record.model_validate(
        {
            "run_id": "l1-digits-macs0.5-s3-0123456789ab",
            "status": "ok",
            "method": "l1",
            "kind": "structured",
            "control": False,
            "config": {"rounds": 2, "schedule": {"steps": [1, 2]}},
            "track": "digits",
            "track_fields": {"dataset": "digits", "network": "lenet5"},
            "target": "macs=0.5",
            "seed": 3,
            "dense": measured,
            "pruned": {**measured, "top1_test": 0.75, "macs": 500, "params": 50, "nonzero": 40},
            "ratios": {"macs": 0.5, "params": 0.5, "compression": 2.5, "filters_removed": 0.3},
            "layers": [{"name": "conv1", "width_before": 20, "width_after": 10, "params": 5, "nonzero": 4, "macs": 6}],
            "budget": {"amount": 50, "unit": "dense_epochs"},
            "ledger": {"dense": spent, "total": {**spent, "device_seconds": 7.5}},
            "curve": [
                {"phase": "dense", "epoch": 1, "spent": 1, "values": {"top1_val": 0.5, "train_loss": None}},
                {"phase": "finetune", "epoch": 2, "spent": 2.5, "values": {"top1_val": 0.75}},
            ],
            "manifest": {
                "command": "bench run",
                "libraries": {"torch": "2.14"},
                "version": "0.1.0",
                "data_fingerprint": "12ab",
                "dense_sha256": "34cd",
            },
        }
    )


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.mark.parametrize(
    ("asked", "environment", "mode"),
    [
        ("off", {"WANDB_API_KEY": KEY, "WANDB_MODE": "online"}, "off"),
        ("offline", {"WANDB_API_KEY": KEY}, "offline"),
        ("online", {"WANDB_MODE": "disabled"}, "online"),
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": ""}, "offline"),
        ("auto", {"WANDB_API_KEY": KEY}, "online"),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "dryrun"}, "offline"),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"}, "off"),
        ("auto", {"WANDB_MODE": "online"}, "online"),
    ],
)
def test_mode(asked: str, environment: dict[str, str], mode: str, tmp_path: Path) -> None:
    assert choose_mode(asked, {"HOME": str(tmp_path), **environment}) == mode


def test_a_wrong_mode_lists_the_modes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="auto, online, offline, off"):
        choose_mode("of", {})
    with pytest.raises(UsageError, match="WANDB_MODE is 'of'"):
        choose_mode("auto", {"HOME": str(tmp_path), "WANDB_MODE": "of"})


def test_a_key_in_netrc_is_a_key_for_its_own_host_only(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    home = {"HOME": str(tmp_path)}
    assert choose_mode("auto", home) == "online"
    assert choose_mode("auto", {**home, "WANDB_BASE_URL": "http://wandb.example"}) == "offline"
    assert choose_mode("auto", {**home, "NETRC": str(tmp_path / "other")}) == "offline"


def test_the_settings_file_of_wandb_is_heard(tmp_path: Path) -> None:
    settings = tmp_path / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[default]\napi_key = {KEY}\n")
    assert choose_mode("auto", {"HOME": str(tmp_path)}) == "online"
    settings.write_text("[default]\nmode = disabled\n")
    assert choose_mode("auto", {"HOME": str(tmp_path)}) == "off"
    settings.write_text("not a settings file")
    assert choose_mode("auto", {"HOME": str(tmp_path)}) == "offline"


def test_a_long_id_is_shortened_and_keeps_its_hash() -> None:
    assert wandb_id("l1-digits-macs0.5-s0-0123456789ab") == "l1-digits-macs0.5-s0-0123456789ab"
    long = wandb_id("m" * 100 + "-0123456789ab")
    assert len(long) <= 64
    assert long.endswith("m-0123456789ab")
    assert len(wandb_id("m" * 200)) <= 64
    assert wandb_id("a:b,c=d+e-01") == "a-b-c-d-e-01"


def test_config_has_one_level(record: Record) -> None:
    config = run_config(record)
    assert config["set.rounds"] == 2
    assert config["set.schedule.steps"] == "[1, 2]"
    assert config["libraries.torch"] == "2.14"
    assert (config["network"], config["budget_amount"], config["budget_unit"]) == (
        "lenet5",
        50,
        "dense_epochs",
    )
    assert not any(isinstance(value, dict | list) or value is None for value in config.values())


def test_a_failed_run_has_a_summary(record: Record) -> None:
    nothing = {"dense": None, "pruned": None, "ratios": None}
    failed = record.model_copy(update={"status": "failed", "error": "Traceback\nValueError: no\n", **nothing})
    summary = run_summary(failed)
    assert (summary["status"], summary["error"]) == ("failed", "ValueError: no")
    assert summary["device_seconds"] == 7.5


def test_an_offline_run_reads_back_whole(
    record: Record, tmp_path: Path, warnings: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    network = tmp_path / "network.safetensors"
    network.write_bytes(b"weights")
    tracker = Tracker("offline", tmp_path / "store", warn=warnings.append)
    published = tracker.publish(record, network)
    assert warnings == []
    assert published is not None
    assert published.run_id == record.run_id
    folder = Path(published.where)
    assert folder.parent == tmp_path / "store" / "wandb"

    messages = read_finished_run(folder / f"run-{record.run_id}.wandb")
    (run,) = [message["run"] for message in messages if "run" in message]
    assert (run["runId"], run["project"], run["runGroup"]) == (record.run_id, "bench", "digits")
    assert (run["jobType"], run["displayName"]) == ("l1", "l1 macs=0.5 seed 3")
    config = {each["key"]: json.loads(each["valueJson"]) for each in run["config"]["update"]}
    assert config["set.rounds"] == 2
    assert config["command"] == "bench run"

    history = [items(message["history"]["item"]) for message in messages if "history" in message]
    points = [row for row in history if "epoch" in row]
    assert [row["epoch"] for row in points] == [1, 2]
    assert points[0]["dense/top1_val"] == 0.5
    assert points[1]["finetune/top1_val"] == 0.75
    assert "dense/train_loss" not in points[0]
    assert [row["layers.nrows"] for row in history if "layers.nrows" in row] == [1]
    axes = {message["metric"].get("globName"): message["metric"] for message in messages if "metric" in message}
    assert axes["dense/*"]["stepMetric"] == "epoch"

    summary: dict[str, object] = {}
    for message in messages:
        summary |= items(message.get("summary", {}).get("update", []))
    assert {key: summary.get(key) for key in run_summary(record)} == run_summary(record)
    assert summary["pruned_top1_test"] == 0.75
    assert summary["latency_ms_b1"] == pytest.approx(2.0)
    assert summary["ratio_macs"] == 0.5

    artifacts = [message["artifact"] for message in messages if "artifact" in message]
    (artifact,) = [each for each in artifacts if each["type"] == "run"]
    contents = {each["path"]: Path(each["localPath"]) for each in artifact["manifest"]["contents"]}
    assert set(contents) == {"record.json", "network.safetensors"}
    assert contents["record.json"].read_text() == record.to_json()
    assert contents["network.safetensors"] == network
    assert "ok" in artifact["aliases"]
    assert not (tmp_path / "home").exists()

    assert tracker.publish(record, network) == published
    changed = tracker.publish(record.model_copy(update={"status": "failed", "error": "no"}))
    assert changed is not None
    assert list((tmp_path / "store" / "wandb").glob("offline-run-*")) == [Path(changed.where)]
    assert warnings == []
    assert capfd.readouterr() == ("", "")


def points(*epochs: float) -> list[Point]:
    """A curve of fine-tuning."""
    values = {"top1_val": 0.5, "train_loss": None}
    return [Point(phase="finetune", epoch=epoch, spent=epoch, values=values) for epoch in epochs]


def spec_of(record: Record) -> RunSpec:
    """A spec with the record's id, method, target and seed."""
    (job,) = make_plan(RunRequest(("l1",), targets=(record.target,), seeds=(record.seed,)))
    return job.spec


def test_a_run_is_live_while_it_goes_on_and_whole_in_the_end(
    record: Record, tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.tracking.tracker._LOOK_SECONDS", 0.0)
    monkeypatch.setattr("bench.tracking.tracker._STATS_SECONDS", 0.2)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_RUN_GROUP", "sweep 7")
    spec, path = spec_of(record), tmp_path / "live.jsonl"
    tracker = Tracker("offline", tmp_path / "store", warn=warnings.append)
    tracker.follow(spec, "bench run", path)  # there is no curve yet
    assert not (tmp_path / "store").exists()

    live = LiveCurve(path, points(1))
    tracker.follow(spec, "bench run", path)
    (folder,) = (tmp_path / "store" / "wandb").glob("offline-run-*")
    live.write(points(2, 3))
    time.sleep(0.5)
    tracker.follow(spec, "bench run", path)
    file = folder / f"run-{wandb_id(spec.run_id)}.wandb"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        messages = read_run(file)
        if len(rows_of(messages)) == 3 and any("stats" in message for message in messages):
            break
        time.sleep(0.1)
    assert [row["epoch"] for row in rows_of(messages)] == [1, 2, 3]
    times = [row["_timestamp"] for row in rows_of(messages)]
    assert times[1] - times[0] > 0.4 and times[2] >= times[1]
    assert any("stats" in message for message in messages)  # system metrics
    assert not any("exit" in message for message in messages)
    (run,) = [message["run"] for message in messages if "run" in message]
    assert (run["project"], run["runGroup"]) == ("mine", "sweep 7")
    config = {each["key"]: json.loads(each["valueJson"]) for each in run["config"]["update"]}
    assert (config["target_measure"], config["target_ratio"]) == ("macs", 0.5)

    whole = record.model_copy(update={"run_id": spec.run_id, "curve": tuple(points(1, 2, 3, 4))})
    published = tracker.publish(whole)
    assert warnings == []
    assert published is not None and Path(published.where) == folder
    messages = read_finished_run(file)
    assert [row["epoch"] for row in rows_of(messages)] == [1, 2, 3, 4]
    artifacts = {message["artifact"]["name"]: message["artifact"] for message in messages if "artifact" in message}
    used = {name for name, artifact in artifacts.items() if artifact.get("useAfterCommit")}
    assert used == {"data-digits", "dense-digits-s3"}
    assert f"run-{wandb_id(spec.run_id)}" in set(artifacts) - used


def test_a_killed_runs_part_reads_back_and_is_replaced_by_the_whole(record: Record, tmp_path: Path) -> None:
    spec, path = spec_of(record), tmp_path / "live.jsonl"
    LiveCurve(path, points(1, 2))
    code = f"""
import time
from pathlib import Path
from bench.runner.jobs import RunRequest, make_plan
from bench.tracking.tracker import Tracker
(job,) = make_plan(RunRequest(("l1",), targets=({record.target!r},), seeds=({record.seed},)))
Tracker("offline", Path({str(tmp_path / "store")!r})).follow(job.spec, job.command, Path({str(path)!r}))
time.sleep(300)
"""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # one of its own
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    rows: list[dict] = []
    end = time.monotonic() + 120
    while len(rows) < 2 and time.monotonic() < end:
        time.sleep(0.1)
        rows = [row for file in tmp_path.glob("store/wandb/offline-run-*/*.wandb") for row in rows_of(read_run(file))]
    process.kill()
    process.wait()
    assert [row["epoch"] for row in rows] == [1, 2]
    (file,) = tmp_path.glob("store/wandb/offline-run-*/*.wandb")
    assert not any("exit" in message for message in read_run(file))

    whole = record.model_copy(update={"run_id": spec.run_id, "curve": tuple(points(1, 2, 3))})
    published = Tracker("offline", tmp_path / "store").publish(whole)
    assert published is not None
    assert list((tmp_path / "store" / "wandb").glob("offline-run-*")) == [Path(published.where)]
    assert [row["epoch"] for row in rows_of(read_finished_run(next(Path(published.where).glob("*.wandb"))))] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("status", ["failed", "invalid"])
def test_what_went_wrong_is_an_alert(record: Record, tmp_path: Path, status: str) -> None:
    wrong = record.model_copy(update={"status": status, "error": "Traceback\nValueError: no\n"})
    published = Tracker("offline", tmp_path / "store").publish(wrong)
    assert published is not None
    messages = read_finished_run(next(Path(published.where).glob("*.wandb")))
    (alert,) = [message["alert"] for message in messages if "alert" in message]
    assert (alert["title"], alert["level"]) == (f"l1: {status}", "ERROR")
    assert alert["text"].endswith("ValueError: no")


def test_a_suite_is_one_table_with_a_row_a_run(record: Record, tmp_path: Path, warnings: list[str]) -> None:
    other = record.model_copy(update={"run_id": "random-digits-macs0.5-s3-0123456789ab", "method": "random"})
    tracker = Tracker("offline", tmp_path / "store", warn=warnings.append)
    tracker.publish_suite([record])  # one run is no suite
    assert not (tmp_path / "store").exists()
    tracker.publish_suite([record, other])
    tracker.publish_suite([other, record])
    assert warnings == []
    (folder,) = (tmp_path / "store" / "wandb").glob("offline-run-*")
    messages = read_finished_run(next(folder.glob("*.wandb")))
    (row,) = [row for row in map(history_of, messages) if "runs.nrows" in row]
    assert row["runs.nrows"] == 2
    (table,) = folder.glob("files/media/table/*.json")
    content = json.loads(table.read_text())
    assert [dict(zip(content["columns"], each, strict=True))["method"] for each in content["data"]] == ["random", "l1"]


def test_an_unwritable_folder_costs_one_warning(record: Record, tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "wandb").write_text("in the way")
    tracker = Tracker("offline", tmp_path, warn=warnings.append)
    assert [tracker.publish(record), tracker.publish(record)] == [None, None]
    assert len(warnings) == 1
    assert "bench sync" in warnings[0]
    assert tracker.mode == "off"


@pytest.mark.parametrize("key", ["bad", KEY])
def test_a_bad_key_or_no_network_costs_one_warning(key: str, record: Record, tmp_path: Path) -> None:
    done = run_python(
        f"""
from bench.records.record import parse_record
from bench.tracking.tracker import Tracker
from pathlib import Path
import os
os.environ |= {{"WANDB_API_KEY": {key!r}, "WANDB_BASE_URL": "http://127.0.0.1:9"}}
record = parse_record({record.to_json().encode()!r}, "here")
warn = lambda text: print("W:", text)
tracker = Tracker("online", Path({str(tmp_path)!r}), warn=warn, init_timeout_seconds=1)
print(tracker.publish(record), tracker.publish(record))
"""
    )
    assert done.stderr == ""
    warning, answers = done.stdout.splitlines()
    assert warning.startswith("W: W&B (online) failed")
    assert answers == "None None"


def test_off_does_not_import_wandb() -> None:
    done = run_python(
        """
import sys
sys.modules["wandb"] = None
from bench.tracking.tracker import Tracker
from bench.tracking.mode import choose_mode
from pathlib import Path
print(Tracker(choose_mode("off", {}), Path("nowhere")).publish(None), Path("nowhere").exists())
"""
    )
    assert (done.stdout, done.stderr) == ("None False\n", "")


def test_a_missing_wandb_costs_one_warning(
    record: Record, tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    tracker = Tracker("offline", tmp_path, warn=warnings.append)
    assert [tracker.publish(record), tracker.publish(record)] == [None, None]
    assert len(warnings) == 1


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)


def items(updates: list[dict]) -> dict:
    """Keys and values of a history row or of a summary update; a nested key is joined by dots."""
    return {".".join(each.get("nestedKey") or [each["key"]]): json.loads(each["valueJson"]) for each in updates}


def history_of(message: dict) -> dict:
    """The row of a history message; empty of another."""
    return items(message["history"]["item"]) if "history" in message else {}


def rows_of(messages: list[dict]) -> list[dict]:
    """History rows that are points of the curve."""
    return [row for row in map(history_of, messages) if "epoch" in row]


def read_finished_run(path: Path, patience_seconds: float = 60.0) -> list[dict]:
    """`read_run` once wandb's service has written all: on a busy machine it lags behind `finish`."""
    end = time.monotonic() + patience_seconds
    messages = read_run(path)
    while not any("exit" in message for message in messages) and time.monotonic() < end:
        time.sleep(0.1)
        messages = read_run(path)
    return messages


def read_run(path: Path) -> list[dict]:
    """The messages of a `.wandb` file: LevelDB's log format (32 KiB blocks of records) after a 7-byte header.

    wandb 0.31 reads these files in its service only, so Python has no reader any more.
    """
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    assert content[:4] in (b":W&B", b"")
    position, partial, messages = 7, b"", []
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        if position + 7 + length > len(content):
            break  # still being written
        partial += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            message = wandb_internal_pb2.Record()
            message.ParseFromString(partial)
            messages.append(MessageToDict(message))
            partial = b""
    return messages
