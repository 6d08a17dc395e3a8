"""One look-up for every command: by path, id, or the beginning of an id or a hash, in a store or committed."""

from pathlib import Path

import pytest

from bench.errors import StoreError
from bench.records.lookup import committed_results, find_record, find_records
from bench.records.record import Record
from bench.records.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def named(record: Record, run_id: str) -> Record:
    return record.model_copy(update={"run_id": run_id})


@pytest.mark.parametrize("prefix", ["l1-smoke-macs0.5-s3-0123456789ab", "l1-sm", "0123", "0123456789ab"])
def test_a_run_is_found_by_its_id_or_the_beginning_of_it_or_of_its_hash(
    store: Store, whole_record: Record, prefix: str
) -> None:
    store.write(whole_record)
    store.write(named(whole_record, "random-smoke-macs0.5-s3-ffff56789abc"))
    assert find_record(prefix, store.root) == (whole_record, store.folder(whole_record.run_id))


def test_a_run_is_found_by_the_path_of_its_record_or_folder(store: Store, whole_record: Record, tmp_path: Path) -> None:
    path = store.write(whole_record)
    for name in (path, path.parent):
        assert find_record(str(name), tmp_path / "elsewhere") == (whole_record, path.parent)


def test_a_committed_record_is_found_where_the_store_has_none(tmp_path: Path) -> None:
    committed = sorted(committed_results().glob("hbfp-*/record.json"))[0].parent
    record, folder = find_record(committed.name, tmp_path / "no-store")
    assert (record.run_id, folder) == (committed.name, committed)
    assert find_record(committed.name.rpartition("-")[2], tmp_path)[1] == committed


def test_the_stores_record_comes_before_a_committed_one(store: Store, tmp_path: Path) -> None:
    record, folder = find_record("hbfp-digits-lenet5-macs0.5-s0", tmp_path)
    store.write(record)
    assert find_record(folder.name, store.root)[1].parent == store.root


def test_a_beginning_that_several_runs_share_lists_them(store: Store, whole_record: Record) -> None:
    store.write(named(whole_record, "l1-a-11"))
    store.write(named(whole_record, "l1-b-12"))
    with pytest.raises(StoreError, match=r"names 2 runs: l1-a-11, l1-b-12. Give more of the name"):
        find_record("l1", store.root)
    assert [record.run_id for record, _ in find_records("l1", store.root)] == ["l1-a-11", "l1-b-12"]


def test_an_unknown_run_and_a_missing_store_are_named(store: Store, whole_record: Record) -> None:
    with pytest.raises(StoreError, match=r"no store at .* no committed run 'l2-nothing'.*--store DIR"):
        find_record("l2-nothing", store.root)
    store.write(named(whole_record, "l1-a-11"))
    with pytest.raises(StoreError, match=r"unknown run 'l1-b-12'. Did you mean 'l1-a-11'"):
        find_record("l1-b-12", store.root)
