"""`bench check METHOD --results`: the committed records hold, and a number that was changed is refused by its name."""

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.checks.record.audit import Finding, check_record, check_results
from bench.checks.record.fingerprints import known_data
from bench.cli.main import main
from bench.data.splits import load_data
from bench.errors import UsageError
from bench.records.hardware import machine
from bench.specs.track import load_track

RESULTS = Path(__file__).resolve().parents[3] / "leaderboard" / "results"
HBFP = "hbfp-digits-lenet5-macs0.5-s0-f86a86fc4376"

# Nothing here can tell: times, a loss, machines, and lists that decide no single run. The README says so too.
UNTOLD = ("latency", "loss_val", "cores", "seeds", "device_seconds")

# Where a number has no right value of its own, what is worked out from it does not agree any more.
FOLLOWS = {"width_after": "filters_removed", "weights_nonzero": "compression_weights", "nonzero": "compression"}

Edit = Callable[[dict[str, Any]], None]
Edited = Callable[..., list[Finding]]


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    """`edited(change, network=True)`: what is found of a copy of a record, changed, with or without its network."""

    def make(change: Edit = lambda _fields: None, network: bool = False, run: str = HBFP) -> list[Finding]:
        (source,) = RESULTS.glob(f"{run}*")
        folder = tmp_path / source.name
        folder.mkdir(exist_ok=True)
        fields = json.loads((source / "record.json").read_bytes())
        change(fields)
        (folder / "record.json").write_text(json.dumps(fields))
        if network:
            shutil.copy(source / "network.safetensors", folder)
        return check_record("all", folder / "record.json")

    return make


def refused(findings: list[Finding]) -> dict[str, str]:
    return {each.check: each.detail for each in findings if each.outcome == "refused"}


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers in a JSON value."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(each, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def moved(path: tuple[Any, ...]) -> Edit:
    """Moves the number there: a whole number by one, another by a little."""

    def change(fields: dict[str, Any]) -> None:
        place: Any = fields
        for key in path[:-1]:
            place = place[key]
        old = place[path[-1]]
        place[path[-1]] = old + 1 if isinstance(old, int) else old - 0.0013 if old > 0.01 else old + 0.0013

    return change


def test_committed_records_hold(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ("scratch-digits*-s1-*", "dense-*", "olmp-mnist-lenet300-auto-*", "l1-mnist-lenet5-*-s0-*")
    chosen = [RESULTS / HBFP, *(min(RESULTS.glob(kind)) for kind in kinds)]
    assert check_results("all", chosen, None) == 0, capsys.readouterr().out
    assert f"\n{len(chosen)} of {len(chosen)} records hold. Not checked: device sec" in f"\n{capsys.readouterr().out}"


@pytest.mark.slow
def test_all_committed_records_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_results("all", [RESULTS], None) == 0, capsys.readouterr().out


@pytest.mark.parametrize("run", [HBFP, "magnitude-mnist-lenet300-params0.05-s0"])
def test_each_number_that_is_moved_is_refused_by_its_name(edited: Edited, run: str) -> None:
    (source,) = RESULTS.glob(f"{run}*")
    fields = json.loads((source / "record.json").read_bytes())
    del fields["curve"]
    untold, tried = [], 0
    for path in numbers(fields):
        name = ".".join(str(part) for part in path)
        found = refused(edited(moved(path), run=run))
        tried += 1
        if not found:
            untold.append(name)
        elif path[0] in ("dense", "pruned", "ratios", "layers", "budget", "ledger"):
            words = (str(path[-1]), FOLLOWS.get(str(path[-1]), str(path[-1])))
            assert any(word in detail for word in words for detail in found.values()), (name, found)
    assert tried > 90
    bounded = ("pruned.macs_nonzero", "pruned.weights_nonzero") if run != HBFP else ()
    left = [name for name in untold if not any(word in name for word in UNTOLD) and name not in bounded]
    assert left == []


def test_texts_that_decide_are_refused_by_their_names(edited: Edited) -> None:
    def put(value: object, *path: str) -> Edit:
        def change(fields: dict[str, Any]) -> None:
            for key in path[:-1]:
                fields = fields[key]
            fields[path[-1]] = value

        return change

    for change, check, said in (
        (put("failed", "status"), "status", "only `ok` is ranked"),
        (put("l1", "method"), "run id", "run_id is"),
        (put("macs=0.25", "target"), "target", "status is 'ok', and must be 'missed-target'"),
        (put("0" * 64, "manifest", "data_fingerprint"), "data", "manifest.data_fingerprint is '000"),
        (put("bench run --method l1 --seed 0 --target macs=0.5", "manifest", "command"), "command", "gives method l1"),
        (put("bench run --method hbfp", "manifest", "command"), "command", "makes 3 runs, and a record is one"),
        (put("rm -rf /", "manifest", "command"), "command", "it is not `bench run`"),
        (put("x" * 64, "pruned", "weights_sha256"), "manifest", "pruned.weights_sha256 is"),
        (put("0" * 64, "dense", "weights_sha256"), "manifest", "manifest.dense_sha256 is"),
        (put("relative", "config", "distance"), "run id", "run_id is"),
        (put("not base64", "pruned", "correct_test"), "accuracy", "pruned.correct_test is not base64"),
        (put(3, "schema"), "schema", "schema 3, but this version of bench reads schemas 1 and 2"),
    ):
        found = refused(edited(change))
        assert said in found.get(check, ""), (check, found)


@pytest.mark.parametrize("processor", ["the record's", "Abacus 9"])
def test_an_accuracy_made_up_together_with_its_bits_is_found_by_the_network(
    edited: Edited, monkeypatch: pytest.MonkeyPatch, processor: str
) -> None:
    """On the processor that made the record, where bits must be equal, and on another, where an image may differ."""
    made_on = machine(json.loads((RESULTS / HBFP / "record.json").read_bytes())["manifest"])
    here = made_on if processor == "the record's" else made_on | {"processor": processor}
    monkeypatch.setattr(
        "bench.checks.record.rerun.machine", lambda manifest=None: here if manifest is None else machine(manifest)
    )

    def lie(fields: dict[str, Any]) -> None:
        fields["pruned"]["correct_test"] = base64.b64encode(b"\xff" * 50).decode()
        fields["pruned"]["top1_test"] = 1.0

    assert refused(edited(lie)) == {}
    found = refused(edited(lie, network=True))
    assert set(found) == {"network"}
    measured = re.search(r"top1_test:? 1\.0+ in the record, ([0-9.]+) now", found["network"])
    assert measured, found
    assert float(measured[1]) == pytest.approx(0.9675, abs=2 / 400)  # of 400 images: two may differ on this processor
    assert ("Abacus 9" in found["network"]) == (processor == "Abacus 9")


def test_another_network_is_refused_by_its_weights(edited: Edited, tmp_path: Path) -> None:
    assert refused(edited(network=True)) == {}
    shutil.copy(RESULTS / "hbfp-digits-lenet5-macs0.5-s1-eba2744f7663" / "network.safetensors", tmp_path / HBFP)
    found = refused(check_record("hbfp", tmp_path / HBFP / "record.json"))
    assert found["network"].startswith("pruned.weights_sha256 is 6167521279")
    (tmp_path / HBFP / "network.safetensors").write_bytes(b"no network")
    assert "is no network that bench saved" in refused(check_record("hbfp", tmp_path / HBFP / "record.json"))["network"]


def test_without_images_the_sizes_are_measured_and_it_says_that_accuracy_was_not(edited: Edited) -> None:
    findings = edited(network=True, run="olmp-claim-olmp-lenet300-params0.0087-s1-4853c4245c2b")
    (network,) = [each for each in findings if each.check == "network"]
    assert (network.outcome, "accuracy was not measured" in network.detail) == ("unknown", True)


def test_another_method_s_result_and_another_folder_s_name_are_refused(edited: Edited, tmp_path: Path) -> None:
    edited()
    path = tmp_path / HBFP / "record.json"
    assert refused(check_record("l1", path))["method"] == "method is 'hbfp', not 'l1'"
    renamed = path.parent.rename(tmp_path / "mine")
    assert "the folder is mine" in refused(check_record("hbfp", renamed / "record.json"))["run id"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["l1", "--results"], "bench check METHOD --results FILE..."),
        (["l1", "some.json"], "bench check METHOD --results FILE..."),
        (["l1", "--results", "nowhere.json"], "no record at 'nowhere.json'"),
        (["l2", "--results", "."], "unknown method 'l2'"),
    ],
)
def test_wrong_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", *words])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_the_command_prints_a_line_a_check_and_ends_with_1(
    edited: Edited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(moved(("pruned", "macs")))
    with pytest.raises(SystemExit) as end:
        main(["check", "hbfp", "--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 1
    assert "  sizes: refused: pruned.macs is 1149001, and must be 1149000" in lines
    assert "  run id: holds: the hash over method, settings, track, target, seed and device" in lines
    assert lines[-1].startswith("0 of 1 records hold.")


def test_the_known_fingerprints_are_those_of_the_data(real_data: Path | None) -> None:
    for name in ("digits-lenet5", *(["mnist-lenet5"] if real_data else [])):
        track = load_track(name)
        data = load_data(track, real_data or Path("nowhere"), "cpu")
        known = known_data(track)
        assert known is not None
        assert (known.fingerprint, known.train, known.test) == (data.fingerprint, len(data.train), len(data.test))


def test_a_folder_without_records_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no record at"):
        check_results("all", [tmp_path], None)
