"""The wheel holds everything, and `bench run` works from it, in an environment that never saw the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = {
    "bench": "bench",
    "methods": "bench/methods",
    "datasets": "bench/datasets",
    "leaderboard": "bench/leaderboard",
}
_BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout, nor taken from an earlier build there."""
    copy = tmp_path_factory.mktemp("source") / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in MAPPED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", _BUILD, str(out)], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("bench-*.whl")
    return built


def test_every_package_template_track_and_claim_is_in_the_wheel(wheel: Path) -> None:
    there = {
        f"{MAPPED[folder]}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder in MAPPED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.parts[len(ROOT.parts) + 1] != "results"
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("bench/")}
    assert packed == there
    assert {"bench/py.typed", "bench/leaderboard/tracks/digits-lenet5.toml", "bench/methods/hbfp.py"} <= packed
    assert any(name.endswith("/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_bench_run_works_from_the_wheel_in_an_environment_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """The environment is new; the libraries alone are shared with this one, by a path file that installs no package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = next(path for path in (tmp_path / "venv").glob("*/python*") if path.parent.name in ("bin", "Scripts"))
    asked = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], capture_output=True, text=True
    )
    site = Path(asked.stdout.strip())
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    zipfile.ZipFile(wheel).extractall(site)

    home = tmp_path / "home"
    home.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "BENCH_", "PYTHON"))}
    environ |= {"HOME": str(home), "COLUMNS": "200"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, *words], cwd=home, env=environ, capture_output=True, text=True, timeout=300)

    where = run("-c", "import bench, bench.methods, bench.leaderboard; print(bench.__file__, bench.methods.__file__)")
    assert all(Path(path).is_relative_to(site) for path in where.stdout.split()), where
    command = (
        "run",
        "--method",
        "hbfp",
        "--target",
        "macs=0.5",
        "--budget",
        "15ep",
        "--wandb",
        "off",
        "--memory",
        "none",
    )
    done = run("-m", "bench.cli", *command)
    assert done.returncode == 0, done.stderr
    assert "hbfp" in done.stdout
    assert (home / "runs" / "page" / "index.html").is_file()
    assert "hbfp-lenet5" in run("-m", "bench.cli", "list", "claims").stdout
