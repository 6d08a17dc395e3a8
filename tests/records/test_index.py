"""The index of a store: it always says what the files say, and may be lost, damaged or unwritable."""

import os
from pathlib import Path

import pytest

from bench.records.index import RecordIndex
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


def test_a_folder_that_is_not_there_has_no_records_and_is_not_made(tmp_path: Path) -> None:
    assert RecordIndex(tmp_path / "nothing").runs() == []
    assert not (tmp_path / "nothing").exists()
