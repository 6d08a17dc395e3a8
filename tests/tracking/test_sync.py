"""`bench sync`: each record is uploaded once, failures are listed and tried again, nothing goes without an account."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from bench.cli.main import main
from bench.errors import StoreError, UsageError
from bench.records.record import Record, parse_record
from bench.records.store import Store
from bench.tracking.sync import NOTE, Synced, sync_store
from bench.tracking.tracker import Published, Tracker

RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with three records, the first with its network."""
    for source in sorted(RESULTS.glob("hbfp-digits-lenet5-macs0.5-*")):
        shutil.copytree(source, tmp_path / "runs" / source.name)
    return tmp_path / "runs"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, str]]:
    """What was sent: run id, with its network, project. A project called `broken` refuses seed 1, `down` everything."""
    calls: list[tuple[str, bool, str]] = []

    def send(tracker: Tracker, record: Record, network: Path | None = None) -> Published:
        project = f"{tracker._entity}/{tracker._project}"
        if "down" in project or ("broken" in project and record.seed == 1):
            raise TimeoutError("no\nanswer")
        calls.append((record.run_id, network is not None, project))
        return Published(record.run_id, f"https://wandb.example/{record.run_id}")

    monkeypatch.setattr(Tracker, "send", send)
    return calls


def test_a_record_is_sent_once_with_its_network(store: Path, sent: list[Any], capsys: pytest.CaptureFixture) -> None:
    first = sync_store(store, "online")
    assert [(each[0][-15:-13], *each[1:]) for each in sent] == [(f"s{i}", True, "None/bench") for i in range(3)]
    assert first.complete and len(first.uploaded) == 3
    assert f"https://wandb.example/{first.uploaded[0]}" in capsys.readouterr().out
    again = sync_store(store, "online")
    assert (again.uploaded, again.skipped) == ((), first.uploaded)
    assert len(sent) == 3


def test_a_record_that_was_made_again_and_another_project_are_sent(store: Path, sent: list[Any]) -> None:
    first = sync_store(store, "online")
    record = Store(store).read(first.uploaded[1])
    assert record is not None
    Store(store).write(record.model_copy(update={"manifest": {**record.manifest, "finished_at": "later"}}))
    assert sync_store(store, "online").uploaded == (record.run_id,)
    assert len(sync_store(store, "online", entity="team").uploaded) == 3
    (store / record.run_id / NOTE).write_text("no note")
    assert sync_store(store, "online", entity="team").uploaded == (record.run_id,)


def test_what_failed_is_listed_and_tried_again(store: Path, sent: list[Any], capsys: pytest.CaptureFixture) -> None:
    first = sync_store(store, "online", "broken")
    (failed,) = first.failed
    assert (len(first.uploaded), first.failed[failed], first.complete) == (2, "TimeoutError: no answer", False)
    assert f"failed: {failed}: TimeoutError: no answer" in capsys.readouterr().out
    assert first.words() == "2 uploaded, 0 there already, 1 failed. `bench sync` again takes up what is missing."
    assert not (store / failed / NOTE).exists()
    assert list(sync_store(store, "online", "broken").failed) == [failed]
    assert len(sent) == 2


def test_when_w_and_b_is_not_there_the_rest_is_not_tried(store: Path, sent: list[Any]) -> None:
    for path in sorted(store.iterdir()):
        fields = json.loads((path / "record.json").read_bytes())
        twin = path.with_name(f"{path.name}x")
        shutil.copytree(path, twin)
        (twin / "record.json").write_text(json.dumps({**fields, "run_id": twin.name}))
    down = sync_store(store, "online", "down")
    assert (len(down.failed), len(down.untried)) == (3, 3)
    assert sent == []


def test_a_file_that_is_no_record_is_named_and_the_others_go(
    store: Path, sent: list[Any], capsys: pytest.CaptureFixture
) -> None:
    (store / "broken").mkdir()
    (store / "broken" / "record.json").write_text("{")
    synced = sync_store(store, "online")
    assert (len(synced.uploaded), synced.unreadable, synced.complete) == (3, 1, False)
    assert "unreadable: record" in capsys.readouterr().out


def test_two_at_once_no_store_and_off_are_refused(store: Path, tmp_path: Path) -> None:
    Store(store).prepare()
    with (
        FileLock(store / ".locks" / "sync.lock"),
        pytest.raises(UsageError, match="another `bench sync` is at work"),
    ):
        sync_store(store, "online")
    with pytest.raises(StoreError, match="no store at"):
        sync_store(tmp_path / "nowhere", "online")
    with pytest.raises(UsageError, match="Unset WANDB_MODE"):
        sync_store(store, "off")


@pytest.fixture
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return


@pytest.mark.usefixtures("_no_account")
@pytest.mark.parametrize(
    ("mode", "said"), [("", "`wandb login`, or set WANDB_API_KEY"), ("offline", "Unset WANDB_MODE")]
)
def test_without_an_account_the_command_says_what_to_do(
    store: Path, sent: list[Any], mode: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(SystemExit) as end:
        main(["sync", "--store", str(store)])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert sent == []


@pytest.mark.usefixtures("_no_account")
def test_the_command_ends_with_0_and_with_1_where_one_failed(
    store: Path, sent: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    for project, code in (("bench", 0), ("broken", 1)):
        with pytest.raises(SystemExit) as end:
            main(["sync", "--store", str(store), "--project", project])
        assert end.value.code == code
    assert "3 uploaded, 0 there already." in capsys.readouterr().out


@pytest.mark.usefixtures("_no_account")
def test_wandb_itself_writes_each_run_once_offline(store: Path) -> None:
    synced: Synced = sync_store(store, "offline")
    assert synced.complete
    assert len(list((store / "wandb").glob("offline-run-*"))) == 3
    assert sync_store(store, "offline").skipped == synced.uploaded
    for run_id in synced.uploaded:
        assert parse_record((store / run_id / "record.json").read_bytes(), run_id).run_id == run_id
        assert list((store / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    assert len(list((store / "wandb").glob("offline-run-*"))) == 3
