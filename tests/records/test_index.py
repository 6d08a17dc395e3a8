"""The index of a store: it always says what the files say, and may be lost, damaged or unwritable."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from bench.records.index import RecordIndex, is_store
from bench.records.record import Record
from bench.records.store import Store


@pytest.fixture
def store(tmp_path: Path, whole_record: Record) -> Store:
    made = Store(tmp_path / "runs")
    for number in range(3):
        made.write(whole_record.model_copy(update={"run_id": f"l1-smoke-macs0.5-s{number}-0123456789ab"}))
    return made


def statuses(store: Store) -> list[tuple[str, str]]:
    return [(run.path.parent.name[-15:-13], run.status) for run in RecordIndex(store.root).runs()]


def test_new_changed_and_removed_records_are_seen(store: Store, whole_record: Record) -> None:
    assert statuses(store) == [("s0", "ok"), ("s1", "ok"), ("s2", "ok")]
    (run, *_) = RecordIndex(store.root).runs("smoke")
    assert (run.run_id, run.method, run.target, run.seconds) == (
        "l1-smoke-macs0.5-s0-0123456789ab",
        "l1",
        "macs=0.5",
        0.0,
    )
    store.write(whole_record.model_copy(update={"run_id": run.run_id, "status": "invalid"}))
    store.record_path("l1-smoke-macs0.5-s1-0123456789ab").unlink()
    store.record_path("l1-smoke-macs0.5-s2-0123456789ab").write_text("{")
    assert statuses(store) == [("s0", "invalid")]
    ((path, reason),) = RecordIndex(store.root).unreadable()
    assert "s2" in str(path) and str(path) in reason
    assert RecordIndex(store.root).runs("other") == []


def test_only_what_changed_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    RecordIndex(store.root).runs()
    read: list[Path] = []
    monkeypatch.setattr("bench.records.index.read_regular", lambda path: read.append(path) or path.read_bytes())
    assert len(RecordIndex(store.root).runs()) == 3
    assert read == []
    path = store.record_path("l1-smoke-macs0.5-s1-0123456789ab")
    os.utime(path, ns=(1, 1))
    assert len(RecordIndex(store.root).runs()) == 3
    assert read == [path]


@pytest.mark.parametrize("damage", [b"", b"not a database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_index_is_made_afresh(store: Store, damage: bytes) -> None:
    expected = statuses(store)
    path = store.root / ".index" / "records.sqlite3"
    path.write_bytes(damage)
    assert statuses(store) == expected
    assert statuses(store) == expected
    assert path.read_bytes().startswith(b"SQLite format 3")


def test_an_index_that_lies_about_its_rows_is_not_believed_beyond_a_files_stamp(store: Store) -> None:
    RecordIndex(store.root).runs()
    store.record_path("l1-smoke-macs0.5-s0-0123456789ab").parent.rename(store.root / "gone")
    assert statuses(store) == [("s1", "ok"), ("s2", "ok")]  # the renamed one does not lie in the folder of its name


def test_briefs_are_the_records_without_their_curves(store: Store, whole_record: Record) -> None:
    rewarded = whole_record.curve[0].model_copy(update={"phase": "search", "values": {"reward": 0.5}})
    run_id = "l1-smoke-macs0.5-s7-0123456789ab"
    store.write(whole_record.model_copy(update={"run_id": run_id, "curve": (*whole_record.curve, rewarded)}))
    for read in (True, False):
        briefs = RecordIndex(store.root).briefs()
        assert [each.read for each in briefs] == [read] * 4
        assert [each.record for each in briefs] == [
            record.model_copy(update={"curve": ()}) for record in store.records()[0]
        ]
        assert [list(each.rewards) for each in briefs] == [[], [], [], [0.5]]
    assert [each.record.run_id for each in RecordIndex(store.root).briefs(["smoke"])] == [
        record.run_id for record in store.records()[0]
    ]
    assert RecordIndex(store.root).briefs(["other"]) == []


def test_a_folder_that_is_only_looked_at_is_not_written_to(store: Store) -> None:
    assert len(RecordIndex(store.root, kept=False).briefs()) == 3
    assert not is_store(store.root)
    assert not (store.root / ".index").exists()


def test_many_records_are_read_by_several_processes_and_come_in_order(tmp_path: Path, whole_record: Record) -> None:
    text = whole_record.to_json()
    for number in range(520):
        path = tmp_path / f"l1-smoke-macs0.5-s{number:03}-0123456789ab" / "record.json"
        path.parent.mkdir()
        path.write_text(text.replace(whole_record.run_id, path.parent.name) if number != 300 else "{")
    index = RecordIndex(tmp_path)
    assert [run.path.parent.name[17:21] for run in index.runs()] == [f"s{n:03}" for n in range(520) if n != 300]
    ((path, _),) = index.unreadable()
    assert "-s300-" in path.parent.name


def test_an_index_that_is_busy_is_not_thrown_away(store: Store) -> None:
    expected = statuses(store)
    path = store.root / ".index" / "records.sqlite3"
    before = path.stat().st_ino
    os.utime(store.record_path("l1-smoke-macs0.5-s1-0123456789ab"), ns=(1, 1))
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert statuses(store) == expected
    assert path.stat().st_ino == before


def test_a_folder_that_is_not_there_has_no_records_and_is_not_made(tmp_path: Path) -> None:
    assert RecordIndex(tmp_path / "nothing").runs() == []
    assert not (tmp_path / "nothing").exists()
