"""The store: records in folders, atomic writes, and finding a run by the beginning of its name."""

from pathlib import Path

import pytest

from bench.errors import StoreError
from bench.records.record import Record
from bench.records.store import Store, read_records, write_atomically, write_text


def named(record: Record, run_id: str) -> Record:
    return record.model_copy(update={"run_id": run_id})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_a_record_is_read_as_it_was_written(store: Store, whole_record: Record) -> None:
    path = store.write(whole_record)
    assert path == store.root / whole_record.run_id / "record.json"
    assert store.read(whole_record.run_id) == whole_record


def test_a_run_without_a_record_reads_as_none(store: Store) -> None:
    assert store.read("nothing-yet") is None


def test_a_record_in_another_runs_folder_is_refused(store: Store, whole_record: Record) -> None:
    path = store.write(whole_record)
    path.parent.rename(store.root / "elsewhere")
    with pytest.raises(StoreError, match=r"says run_id 'l1-smoke.*', but lies in the folder of 'elsewhere'"):
        store.read("elsewhere")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_atomically(path, half)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file.txt", "old")]


def test_a_full_disk_is_a_message_and_leaves_nothing(tmp_path: Path) -> None:
    def full(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"cannot write .*file.txt: No space left on device. Free some space"):
        write_atomically(tmp_path / "file.txt", full)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_the_store_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=r"cannot be written: .* Give a folder of your own with --store DIR"):
            Store(root).prepare()


def test_reading_all_goes_on_after_records_that_cannot_be_read(store: Store, whole_record: Record) -> None:
    store.write(whole_record)
    store.write(named(whole_record, "a-broken-one")).write_text("{")
    (store.root / "dense" / "key").mkdir(parents=True)
    (store.root / "dense" / "key" / "record.json").write_text("not one of ours")
    records, unreadable = read_records(store.root)
    assert records == [whole_record]
    assert [each.path.parent.name for each in unreadable] == ["a-broken-one"]
    assert "a-broken-one" in unreadable[0].reason


def test_no_store_holds_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nowhere") == ([], [])


def test_a_lock_that_is_held_is_waited_for_and_said_so(store: Store) -> None:
    from threading import Thread

    told: list[str] = []

    def second() -> None:
        with store.lock("run", waiting=lambda: told.append("waiting")):
            told.append("in")

    with store.lock("run"):
        thread = Thread(target=second)
        thread.start()
        while not told:
            thread.join(0.01)
        told.append("out")
    thread.join()
    assert told == ["waiting", "out", "in"]
