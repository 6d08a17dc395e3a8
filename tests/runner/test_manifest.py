"""Where a record comes from: the commit of the code's own repository only, and everything that changes bits."""

import subprocess
from pathlib import Path

import pytest
import torch

from bench.records.hardware import environment, machine, numerics
from bench.records.record import Point, Search
from bench.runner.manifest import git_state, manifest
from bench.runner.record_builder import search_of
from bench.specs.run import RunSpec
from bench.specs.target import Target
from bench.specs.track import load_track


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the harness's file in it."""
    root = tmp_path / "checkout"
    (root / "bench" / "runner").mkdir(parents=True)
    (root / "bench" / "runner" / "manifest.py").write_text("")
    git(root, "init")
    git(root, "add", "-A")
    git(root, "commit", "-m", "first")
    return root


def test_a_checkout_gives_its_commit_and_whether_it_is_dirty(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout) == (commit, False)
    (checkout / "more.py").write_text("")
    assert git_state(checkout) == (commit, True)


def test_another_repositorys_commit_is_not_ours(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = checkout / "vendor" / "archive"
    (inside / "bench" / "runner").mkdir(parents=True)
    (inside / "bench" / "runner" / "manifest.py").write_text("")
    assert git_state(inside) == (None, None)  # an archive that was unpacked inside a repository
    other = checkout.parent / "other"
    (other / "bench" / "runner").mkdir(parents=True)
    git(other, "init")
    (other / "theirs.py").write_text("")
    git(other, "add", "-A")
    git(other, "commit", "-m", "theirs")
    (other / "bench" / "runner" / "manifest.py").write_text("")
    assert git_state(other) == (None, None)  # an installed copy at the top of another repository
    assert git_state(checkout.parent / "nowhere") == (None, None)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_state(checkout)[0] is not None  # as inside a hook: the environment names another one


def test_what_changes_bits_is_written_down_and_part_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}.items() <= environment().items()
    assert numerics()["environment"]["OMP_NUM_THREADS"] == "7"
    assert "OMP_NUM_THREADS" not in environment()  # a run sets its track's own
    assert machine() == {**before, "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert numerics()["float32_matmul_precision"] == machine()["float32_matmul_precision"] == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    assert any("MKL" in line or "BLAS" in line for line in numerics()["build"])


def points(**values: float) -> list[Point]:
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return [Point(phase="search", epoch=0, spent=0, values=named)]


def test_what_a_search_did_is_what_the_method_logged_last() -> None:
    curve = points(search__episodes=3, search__winner=1) + points(reward=0.5) + points(search__episodes=40)
    assert search_of(curve) == Search(episodes=40, winner=1)
    whole = points(search__episodes=9, search__distinct=4, search__winner=7, search__winner_in_warmup=1.0)
    assert search_of(whole) == Search(episodes=9, distinct=4, winner=7, winner_in_warmup=True)
    assert search_of(points(reward=1.0)) is None


@pytest.mark.parametrize(
    ("network", "files"),
    [
        ("timm:resnet18", False),
        ("torchvision:resnet18", False),
        ("lenet5", False),
        ("net.py:Net", True),
        ("a.b:c", True),
    ],
)
def test_the_tracks_folder_is_kept_where_the_track_names_code_of_its_own(
    network: str, files: bool, tmp_path: Path
) -> None:
    track = load_track("digits-lenet5").model_copy(update={"network": network, "root": tmp_path})
    found = manifest(RunSpec("l1", {}, "", track, "dense_epochs", Target.parse("macs=0.5"), 0), "bench run")
    assert found.get("track_folder") == (str(tmp_path) if files else None)
