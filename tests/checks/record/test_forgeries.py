"""Records that were made up: each is refused, or said to be unproven; none of it may hold in silence.

The run's id is worked out again for each forgery that needs it, as somebody would who wants to get away with it.
"""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.checks.record.audit import Finding, check_record, check_results
from bench.checks.record.provenance import provenance_check, repository
from bench.checks.record.submission import Doubtful, Refused, Submission
from bench.records.record import Record, parse_record

RESULTS = Path(__file__).resolve().parents[3] / "leaderboard" / "results"
HBFP = "hbfp-digits-lenet5-macs0.5-s0"

Fields = dict[str, Any]
Edit = Callable[[Fields], None]


def source_of(run: str) -> Path:
    return next(RESULTS.glob(f"{run}*"))


def forged(folder: Path, run: str, change: Edit, network: bool = False) -> Path:
    """A record that was changed, in a folder that its own id names."""
    source = source_of(run)
    fields = json.loads((source / "record.json").read_bytes())
    change(fields)
    record = Record.model_validate(fields)
    try:
        submission = Submission(record, folder / "record.json", "all")
        fields["run_id"] = getattr(submission, "run_id", submission.spec.run_id)
    except Refused:
        pass
    place = folder / fields["run_id"]
    place.mkdir(parents=True, exist_ok=True)
    (place / "record.json").write_text(json.dumps(fields))
    if network:
        shutil.copy(source / "network.safetensors", place)
    return place / "record.json"


def outcomes(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    return {each.check: (each.outcome, each.detail) for each in findings}


def with_accuracy(right: int, images: int = 400) -> Edit:
    """So many images right, the bits and the share together, and validation as it was."""

    def change(fields: Fields) -> None:
        bits = np.arange(images) < right
        fields["pruned"]["correct_test"] = base64.b64encode(np.packbits(bits).tobytes()).decode()
        fields["pruned"]["top1_test"] = right / images

    return change


def test_accuracy_without_a_network_is_unproven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to 100 %, with bits that agree: nothing refutes it, and the page and the check say so."""
    path = forged(tmp_path, HBFP, with_accuracy(400))
    outcome, said = outcomes(check_record("all", path))["network"]
    assert outcome == "unknown"
    assert "its accuracy on test is unproven" in said
    assert check_results("all", [path], None) == 0
    assert "network: unknown" in capsys.readouterr().out


def test_accuracy_beside_its_network_is_refused(tmp_path: Path) -> None:
    path = forged(tmp_path, HBFP, with_accuracy(400), network=True)
    outcome, said = outcomes(check_record("all", path))["network"]
    assert (outcome, "measured again" in said) == ("refused", True)


@pytest.mark.parametrize(("images", "holds"), [(2, True), (3, False), (12, False)])
def test_two_images_may_differ_on_another_processor_and_no_more(tmp_path: Path, images: int, holds: bool) -> None:
    def change(fields: Fields) -> None:
        bits = np.unpackbits(np.frombuffer(base64.b64decode(fields["pruned"]["correct_test"]), np.uint8))
        bits[np.flatnonzero(bits == 0)[:images]] = 1
        fields["pruned"]["correct_test"] = base64.b64encode(np.packbits(bits).tobytes()).decode()
        fields["pruned"]["top1_test"] = int(bits.sum()) / 400
        fields["manifest"]["hardware"]["processor"] = "another one"

    outcome, said = outcomes(check_record("all", forged(tmp_path, HBFP, change, network=True)))["network"]
    assert outcome == ("holds" if holds else "refused"), said


def test_other_bits_at_the_same_accuracy_are_refused(tmp_path: Path) -> None:
    """Five images wrong that were right, and the reverse: the interval over images rests on the bits."""

    def change(fields: Fields) -> None:
        bits = np.unpackbits(np.frombuffer(base64.b64decode(fields["pruned"]["correct_test"]), np.uint8))
        wrong, right = np.flatnonzero(bits == 0)[:5], np.flatnonzero(bits == 1)[:5]
        bits[wrong], bits[right] = 1, 0
        fields["pruned"]["correct_test"] = base64.b64encode(np.packbits(bits).tobytes()).decode()
        fields["manifest"]["hardware"]["processor"] = "another one"

    outcome, said = outcomes(check_record("all", forged(tmp_path, HBFP, change, network=True)))["network"]
    assert (outcome, "10 images come out otherwise" in said) == ("refused", True)


def other_seed(fields: Fields) -> None:
    fields["seed"] = 7
    fields["manifest"]["command"] = fields["manifest"]["command"].replace("--seed 0", "--seed 7")


def test_a_seed_s_result_under_another_seed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = forged(tmp_path, HBFP, other_seed, network=True)
    assert all(outcome != "refused" for outcome, _ in outcomes(check_record("all", path)).values())
    assert check_results("all", [path], None) == 1
    said = capsys.readouterr().out
    assert "manifest.dense_sha256 is the same at seeds 0, 7" in said
    assert "one of them has another seed's result" in said


def test_a_seed_s_result_with_a_made_up_dense_network_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seed 1's name, and a dense network that nobody has seen: the other runs of seed 1 began with another."""

    def change(fields: Fields) -> None:
        fields["seed"] = 1
        fields["manifest"]["command"] = fields["manifest"]["command"].replace("--seed 0", "--seed 1")
        fields["manifest"]["dense_sha256"] = fields["dense"]["weights_sha256"] = "12" * 32
        fields["pruned"]["weights_sha256"] = "34" * 32

    path = forged(tmp_path, HBFP, change)
    hardware = json.loads((source_of("l1-digits-lenet5-macs0.5-s1") / "record.json").read_bytes())["manifest"][
        "hardware"
    ]
    fields = json.loads(path.read_bytes())
    fields["manifest"]["hardware"] = hardware
    path.write_text(json.dumps(fields))
    assert check_results("all", [path], None) == 1
    assert "the other runs of this recipe, seed and kind of CPU began with" in capsys.readouterr().out


def test_a_relabelled_method_has_no_such_source_in_its_commit(tmp_path: Path) -> None:
    def change(fields: Fields) -> None:
        fields["method"] = "l1"
        fields["config"] = json.loads((source_of("l1-digits-lenet5-macs0.5-s0") / "record.json").read_bytes())["config"]
        fields["manifest"]["command"] = fields["manifest"]["command"].replace("hbfp", "l1")

    outcome, said = outcomes(check_record("all", forged(tmp_path, HBFP, change)))["provenance"]
    assert (outcome, "methods/l1.py has" in said) == ("refused", True)


def test_a_copy_under_another_name_is_a_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Network and device seconds are those of the original, to the last digit."""
    fields = json.loads((source_of(HBFP) / "record.json").read_bytes())
    fields["run_id"] = "copied"
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "record.json").write_text(json.dumps(fields))
    assert check_results("all", [tmp_path], None) == 1
    assert "device seconds are those of another run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        ("0" * 40, "no such commit"),
        ("d086cea7b79611dda35239f42e5bb2e7cc7a9834", "no such commit"),
        ("main; ls", "no such"),
    ],
)
def test_a_commit_that_does_not_exist_is_refused(tmp_path: Path, commit: str, said: str) -> None:
    path = forged(tmp_path, HBFP, lambda fields: fields["manifest"].update(git_commit=commit))
    outcome, detail = outcomes(check_record("all", path))["provenance"]
    assert (outcome, said in detail) == ("refused", True)


def test_a_method_hash_of_zeros_is_refused(tmp_path: Path) -> None:
    path = forged(tmp_path, HBFP, lambda fields: fields["manifest"].update(method_sha256="0" * 64))
    outcome, said = outcomes(check_record("all", path))["provenance"]
    assert (outcome, "methods/hbfp.py has" in said) == ("refused", True)


def test_uncommitted_changes_are_unproven(tmp_path: Path) -> None:
    path = forged(tmp_path, HBFP, lambda fields: fields["manifest"].update(git_dirty=True))
    outcome, said = outcomes(check_record("all", path))["provenance"]
    assert (outcome, "not committed" in said) == ("unknown", True)


def test_without_a_history_nothing_holds(tmp_path: Path) -> None:
    """A shallow clone and a folder without git cannot tell: unknown, not refused."""
    path = source_of(HBFP) / "record.json"
    submission = Submission(parse_record(path.read_bytes(), str(path)), path, "all")
    root = repository()
    assert root is not None
    shallow = tmp_path / "shallow"
    words = ["git", "clone", "--quiet", "--depth", "1", "--no-checkout", root.as_uri(), str(shallow)]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(Doubtful, match="cut off"):
        provenance_check(submission, shallow)
    empty = tmp_path / "empty"
    subprocess.run(["git", "init", "--quiet", str(empty)], check=True)
    with pytest.raises(Refused, match="no such commit"):
        provenance_check(submission, empty)


def test_times_are_never_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Divided by ten, all of them: it is said that nothing vouches for a time."""

    def change(fields: Fields) -> None:
        for network in ("dense", "pruned"):
            for row in fields[network]["latency"]:
                row["median_seconds"] /= 10
        for spent in fields["ledger"].values():
            spent["device_seconds"] /= 10

    assert check_results("all", [forged(tmp_path, HBFP, change)], None) == 0
    assert "Not checked: device seconds, latencies" in capsys.readouterr().out


def test_a_latency_of_a_tenth_is_not_shown() -> None:
    """The page holds the dense network's time against that of the other runs."""
    from bench.leaderboard.board.summary import summarise

    records = [
        parse_record(path.read_bytes(), "") for path in sorted(RESULTS.glob("l1-digits-*-macs0.5-*/record.json"))
    ]
    quick = records[0].dense.latency[0].model_copy(update={"median_seconds": 1e-6})
    dense = records[0].dense.model_copy(update={"latency": (quick, *records[0].dense.latency[1:])})
    (row,) = summarise([records[0].model_copy(update={"dense": dense}), *records[1:]]).tracks[0].tables[0].rows
    assert row.latency[0].doubt.startswith("not shown: dense network off by")


def test_a_curve_of_one_point_is_refused(tmp_path: Path) -> None:
    path = forged(tmp_path, HBFP, lambda fields: fields.update(curve=fields["curve"][-1:]))
    outcome, said = outcomes(check_record("all", path))["curve"]
    assert (outcome, said) == ("refused", "curve has 0 points of dense, whose 20 epochs leave one each")


def test_a_curve_that_ends_elsewhere_is_refused(tmp_path: Path) -> None:
    def change(fields: Fields) -> None:
        fields["pruned"]["top1_val"] = fields["pruned"]["top1_val"] - 0.005

    outcome, said = outcomes(check_record("all", forged(tmp_path, HBFP, change)))["curve"]
    assert (outcome, "pruned.top1_val beside the curve's last point" in said) == ("refused", True)


def test_what_is_unproven_is_counted_where_there_are_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("random-mnist-lenet5-macs0.25", "random-mnist-lenet5-macs0.5"):
        for source in sorted(RESULTS.glob(f"{run}-s*"))[:3]:
            shutil.copytree(source, tmp_path / source.name)
    assert check_results("all", [tmp_path], None) == 0, capsys.readouterr().out
    assert "Unproven: accuracy on test of 6 records." in capsys.readouterr().out
