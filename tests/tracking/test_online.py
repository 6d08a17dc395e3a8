"""W&B online, rehearsed: what wandb itself sends to a server on loopback, held against the records.

The server (`conftest.WandbServer`) answers the GraphQL operations, the file stream and the uploads that wandb 0.31 and
wandb-workspaces use for a run, `bench sync` and `bench report`, as their client code reads them; an operation that it
has no answer to fails the test. What cannot be imitated here: that W&B's own servers take the same requests (limits of
rate and size, checks of names, permissions of a team), that its web page draws the history, tables and the report's
panels, what `wandb login` does in a browser, multipart uploads (of files beyond 2 GiB), and how alerts reach people.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load as tensors_in

from bench.cli.main import main
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.columns import interval
from bench.records.record import Record, parse_record
from bench.records.store import read_records

RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"
KEY = "0123456789" * 4


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two records of one dense network, and their networks."""
    for source in sorted(RESULTS.glob("hbfp-digits-lenet5-macs0.*-s0-*"))[:2]:
        shutil.copytree(source, tmp_path / "runs" / source.name)
    return tmp_path / "runs"


@pytest.fixture
def typed(
    wandb_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """`typed("sync", ...)`: the command with an account at the server; gives what it printed."""
    import wandb

    wandb.teardown()  # it remembers the server's address for as long as the process lives
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    def call(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        said = capfd.readouterr()
        assert not wandb_server.unknown, wandb_server.unknown
        assert end.value.code == 0, said.out + said.err
        return str(said.out)

    yield call
    wandb.teardown()


def records_of(store: Path) -> dict[str, Record]:
    return {record.run_id: record for record in read_records(store)[0]}


def test_sync_sends_each_record_once(typed: Callable[..., str], wandb_server: Any, store: Path) -> None:
    said = typed("sync", "--store", str(store), "--project", "mine")
    assert "2 uploaded, 0 there already." in said
    records = records_of(store)
    assert set(wandb_server.runs) == set(records)
    for run_id, record in records.items():
        run = wandb_server.runs[run_id]
        assert f"{wandb_server.url}/somebody/mine/runs/{run_id}" in said
        assert record.pruned and record.ratios and record.dense
        assert (run.fields["groupName"], run.fields["jobType"]) == (record.track, "hbfp")
        assert run.exits == [0]
        assert (run.config["method"], run.config["seed"]) == ("hbfp", record.seed)
        assert (run.config["target_measure"], run.config["target_ratio"]) == ("macs", float(record.target[5:]))
        assert run.summary["pruned_top1_test"] == record.pruned.top1_test
        assert run.summary["macs"] == record.pruned.macs
        assert run.summary["ratio_macs"] == record.ratios.macs

        points = [row for row in run.history() if "epoch" in row]
        assert [row["_step"] for row in points] == list(range(len(record.curve)))
        for row, point in zip(points, record.curve, strict=True):
            assert (row["epoch"], row["spent"]) == (point.epoch, point.spent)
            for name, value in point.values.items():
                assert value is None or row[f"{point.phase}/{name}"] == value

        table = json.loads(next(content for name, content in run.files.items() if name.startswith("media/table/")))
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        assert rows == [layer.model_dump() for layer in record.layers]


def test_artifacts_hold_the_files_and_say_what_was_used(
    typed: Callable[..., str], wandb_server: Any, store: Path
) -> None:
    typed("sync", "--store", str(store))
    committed = {(a.kind, a.name, a.digest): a for a in wandb_server.artifacts.values() if a.state == "COMMITTED"}
    used: list[set[tuple[str, str, str]]] = []
    for run_id, record in records_of(store).items():
        run = wandb_server.runs[run_id]
        (whole,) = [committed[key] for key in run.logged if key[:2] == ("run", f"run-{run_id}")]
        assert set(whole.aliases) == {"latest", "ok"}
        assert parse_record(whole.contents["record.json"], "served") == record
        network = (store / run_id / "network.safetensors").read_bytes()
        assert whole.contents["network.safetensors"] == network and tensors_in(network)
        about = {key[:2]: json.loads(committed[key].contents["about.json"]) for key in run.used}
        assert about["dataset", "data-digits"] == {"fingerprint": record.manifest["data_fingerprint"]}
        dense = about["network", f"dense-{record.track}-s{record.seed}"]
        assert dense["weights_sha256"] == record.manifest["dense_sha256"]
        used.append(run.used)
    assert used[0] == used[1]  # one version of the data, and of the dense network that both began with


@pytest.mark.slow
def test_a_second_sync_adds_nothing_and_a_lost_note_only_what_is_missing(
    typed: Callable[..., str], wandb_server: Any, store: Path
) -> None:
    typed("sync", "--store", str(store))
    writes, rows = wandb_server.writes, {name: run.history() for name, run in wandb_server.runs.items()}
    assert "0 uploaded, 2 there already." in typed("sync", "--store", str(store))
    assert wandb_server.writes == writes

    first = sorted(rows)[0]
    (store / first / "wandb.json").unlink()
    committed = {(a.kind, a.name, a.digest) for a in wandb_server.artifacts.values()}
    assert "1 uploaded, 1 there already." in typed("sync", "--store", str(store))
    assert {name: run.history() for name, run in wandb_server.runs.items()} == rows
    assert {(a.kind, a.name, a.digest) for a in wandb_server.artifacts.values()} == committed


@pytest.mark.slow
def test_the_report_is_made_once_and_then_changed(
    typed: Callable[..., str], wandb_server: Any, store: Path, tmp_path: Path
) -> None:
    typed("sync", "--store", str(store))
    words = ("report", "--store", str(store), "--out", str(tmp_path / "page"))
    assert "W&B report made: " in typed(*words)
    assert "W&B report updated: " in typed(*words)
    (report,) = wandb_server.reports.values()
    assert "[bench report]" in report["description"]
    spec = report["spec"].replace("\\", "")  # of JSON and of Markdown
    committed, _ = read_records(RESULTS)  # the store's are among them
    (track,) = summarise(record for record in committed if record.track == "digits-lenet5").tracks
    rows = [row for table in track.tables for row in table.rows]
    assert len(rows) > 10
    missing = [row.label for row in rows if interval(row.top1_test) not in spec or row.target not in spec]
    assert missing == []
    assert wandb_server.keys and all(KEY in _decoded(key) for key in wandb_server.keys)


def _decoded(header: str) -> str:
    import base64

    kind, _, value = header.partition(" ")
    return base64.b64decode(value).decode() if kind == "Basic" else value
