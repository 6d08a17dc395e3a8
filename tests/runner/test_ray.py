"""`--executor ray` on a cluster of this machine: the same records as `local`, and files that come back whole."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.records.store import read_records
from bench.runner.ray_executor import _pack, _unpack


@pytest.mark.slow
def test_ray_gives_the_bits_of_local(
    bench: Callable[..., CompletedProcess[str]], smoke_track: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    words = ["run", "--method", "l1,clumsy", "--track", str(smoke_track), "--target", "macs=0.5", "--wandb", "off"]
    found = []
    for executor in ("local", "ray"):
        done = bench(*words, "--store", str(tmp_path / executor), "--executor", executor, "--workers", "2")
        assert done.returncode == 1, done.stderr
        records, unreadable = read_records(tmp_path / executor)
        assert not unreadable
        found.append(
            {each.run_id: (each.status, each.pruned and each.pruned.weights_sha256, each.curve) for each in records}
        )
        assert not list((tmp_path / executor).glob("*/journal"))
        assert len(list((tmp_path / executor).glob("dense/*/dense.json"))) == 1
    assert found[0] == found[1]
    assert sorted(status for status, *_ in found[0].values()) == ["failed", "ok"]


def test_a_runs_files_travel_and_a_journal_that_is_done_goes(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for name in ("run/journal/calls.jsonl", "dense/key/dense.json", "other/record.json"):
        (there / name).parent.mkdir(parents=True)
        (there / name).write_text(name)
    _unpack(_pack(there, "run", "dense/key"), here)
    assert sorted(p.relative_to(here).as_posix() for p in here.rglob("*") if p.is_file()) == [
        "dense/key/dense.json",
        "run/journal/calls.jsonl",
    ]
    (there / "run" / "journal" / "calls.jsonl").unlink()
    (there / "run" / "record.json").write_text("whole")
    (there / "dense" / "key" / "dense.json").write_text("another")
    _unpack(_pack(there, "run", "dense/key"), here)
    assert not (here / "run" / "journal").exists()
    assert (here / "run" / "record.json").read_text() == "whole"
    assert (here / "dense" / "key" / "dense.json").read_text() == "dense/key/dense.json"


def test_nothing_is_unpacked_outside_the_store(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("../outside", "/tmp/outside-of-bench", "run/../../outside"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    _unpack(made.getvalue(), tmp_path / "store")
    assert not (tmp_path / "outside").exists()
    assert not Path("/tmp/outside-of-bench").exists()
