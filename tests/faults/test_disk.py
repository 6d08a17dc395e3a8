"""A disk that is full: a message that says so, nothing half-written or lost, and the same command goes on."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from bench import Record
from bench.errors import StoreError
from bench.journal.files import FileJournal
from bench.leaderboard.pages.site import write_leaderboard
from bench.records.store import Store, read_records
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace, execute

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full(*_arguments: Any, **_options: Any) -> None:
    raise FULL


def full_in_safetensors(*_arguments: Any, **_options: Any) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.fixture
def place(workplace: Workplace, smoke_track: Path, tmp_path: Path) -> Workplace:
    """A store of its own, on the dense networks and data of all tests."""
    store = Store(tmp_path / "runs")
    store.prepare()
    (workplace.store.root / "dense").mkdir(parents=True, exist_ok=True)
    (store.root / "dense").symlink_to(workplace.store.root / "dense")
    return Workplace(store, workplace.data_folder, workplace.loaded)


@pytest.mark.parametrize(
    ("where", "how"),
    [
        ("bench.journal.codec.save_file", full),
        ("bench.journal.codec.save_file", full_in_safetensors),
        ("bench.runner.run.save_network", full_in_safetensors),
        ("bench.records.store.os.fsync", full),
        ("bench.records.store.tempfile.mkstemp", full),
        ("bench.journal.files.FileJournal._append", None),
    ],
)
def test_a_full_disk_ends_the_run_with_a_message_and_the_same_command_goes_on(
    run: Callable[..., Record],
    place: Workplace,
    smoke_track: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    how: Callable[..., None] | None,
) -> None:
    (job,) = make_plan(RunRequest(("l1",), (str(smoke_track),), ("macs=0.5",)))
    expected = run("l1")  # also trains the dense network, on a disk with room
    folder = place.store.folder(job.spec.run_id)
    with monkeypatch.context() as patch:
        if how is None:

            def half(journal: FileJournal, entry: dict[str, Any]) -> None:
                with journal._calls.open("a") as file:
                    file.write('00000000 {"ind')
                raise StoreError(f"cannot write {journal._calls}: {FULL.strerror}. Free some space.")

            patch.setattr(where, half)
        else:
            patch.setattr(where, how)
        with pytest.raises(StoreError, match=r"cannot write .*: .*No space left on device.* Free some space"):
            execute(job, place)
    assert place.store.read(job.spec.run_id) is None
    assert not [path for path in folder.rglob("*") if path.suffix == ".part"]
    record = execute(job, place)
    assert record.pruned is not None
    assert expected.pruned is not None
    assert record.pruned.weights_sha256 == expected.pruned.weights_sha256
    assert not (folder / "journal").exists()


def test_a_full_disk_at_the_lock_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "runs")
    monkeypatch.setattr("filelock._unix.os.open", full)
    with pytest.raises(StoreError, match=r"cannot .*No space left on device"), store.lock("run"):
        pass


def test_a_page_that_cannot_be_written_leaves_the_old_one_and_the_records(
    whole_record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "runs")
    store.write(whole_record)
    page = write_leaderboard(*read_records(store.root), tmp_path / "page")
    before = page.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("bench.records.store.os.fsync", full)
        with pytest.raises(StoreError, match="cannot write .*No space left"):
            write_leaderboard([], [], tmp_path / "page")
    assert page.read_bytes() == before
    assert store.read(whole_record.run_id) == whole_record
