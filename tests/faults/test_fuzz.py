"""Mutated records against every command that reads some: no traceback, and nothing that acts on a terminal."""

import importlib.util
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest

from bench.errors import StoreError
from bench.records.lookup import committed_results
from bench.records.reading import RECORD_BYTES, duplicate_key, read_regular
from bench.records.record import Record, parse_record


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_records", Path(__file__).with_name("fuzz_records.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (2, 3))])
def test_100_mutated_records_harm_no_command(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    records = sorted(committed_results().glob("*-digits-lenet5-*/record.json"))
    if not records:
        pytest.skip("no committed results here")
    few = tmp_path / "committed"
    for path in records[::20]:
        fuzzer.write_record(few, path.read_bytes(), path.parent.name)
    for module in ("bench.records.lookup", "bench.cli.shown_records"):
        monkeypatch.setattr(f"{module}.committed_results", lambda: few)
    assert fuzzer.fuzz(records, tmp_path, random.Random(seed), batches=1, batch=100) == []


def test_a_hostile_text_acts_on_nothing_wherever_it_stands(whole_record: Record, fuzzer: ModuleType) -> None:
    fields = json.loads(whole_record.to_json())
    fields |= {"status": "failed", "error": f"line\n{fuzzer.HOSTILE}", "config": {fuzzer.HOSTILE: [fuzzer.HOSTILE]}}
    fields["layers"][0]["name"] = fields["manifest"]["command"] = fuzzer.HOSTILE
    fields["curve"][0]["values"] = {fuzzer.HOSTILE: 1.0}
    record = parse_record(json.dumps(fields).encode(), "here")
    assert record.error is not None and record.error.startswith("line\n\\x1b]0;owned")
    for text in (record.layers[0].name, *record.config, *record.curve[0].values, record.manifest["command"]):
        assert text.startswith("\\x1b]0;owned\\x07\\x1b[2J\\x9b31m")
        assert text.isprintable()


@pytest.mark.parametrize("value", [1e308, -1e308, 1.1e39])
def test_numbers_that_no_measure_gives_are_refused_before_anything_is_drawn(whole_record: Record, value: float) -> None:
    fields = json.loads(whole_record.to_json())
    fields["curve"][0]["values"]["top1_val"] = value
    with pytest.raises(StoreError, match=r"curve\.0\.values\.top1_val"):
        parse_record(json.dumps(fields).encode(), "here")


def test_only_a_regular_file_of_a_bounded_size_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(RECORD_BYTES + 1)
    for name in ("pipe", "device", "large"):
        with pytest.raises(StoreError, match=name):
            read_regular(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nothing")


def test_a_key_that_stands_twice_is_found() -> None:
    assert duplicate_key(b'{"a": {"b": 1, "c": 2, "b": 3}}') == "b"
    assert duplicate_key(b'{"a": {"b": 1}, "b": {"a": 1}}') is None


def test_a_pipe_in_a_store_holds_up_no_command(tmp_path: Path, bench: Callable[..., CompletedProcess[str]]) -> None:
    folder = tmp_path / "runs" / "l1-digits-lenet5-macs0.5-s0-0123456789ab"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "record.json")
    for words in (["show", folder.name], ["leaderboard", "--out", str(tmp_path / "page")], ["plan", "--method", "l1"]):
        done = bench(*words, "--store", str(tmp_path / "runs"))
        assert "Traceback" not in done.stderr
        assert done.returncode == (2 if words[0] == "show" else 0), done.stderr
