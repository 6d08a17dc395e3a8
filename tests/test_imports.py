"""`import bench` is light, and the folders of plugins own no import names of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench

HEAVY = (
    *("torch", "wandb", "plotly", "ray", "torchvision", "timm", "sklearn", "rich.progress"),
    *("gymnasium", "stable_baselines3"),
)


@pytest.mark.parametrize(
    "code",
    [
        "import bench",
        "from bench.cli.main import main\ntry: main(['--help'])\nexcept SystemExit as end: assert not end.code",
    ],
    ids=["import bench", "bench --help"],
)
def test_the_heavy_libraries_are_not_loaded_by(code: str) -> None:
    check = f"{code}\nimport sys\nprint('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("loaded: []")


@pytest.mark.parametrize("name", ["methods", "datasets", "leaderboard"])
def test_a_folder_of_plugins_owns_no_import_name(name: str, tmp_path: Path) -> None:
    check = f"import importlib.util\nprint(getattr(importlib.util.find_spec({name!r}), 'origin', None))"
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", check], env=environ, capture_output=True, text=True, cwd=tmp_path, check=True
    )
    ours = Path(bench.__file__).resolve().parent.parent
    assert not Path(done.stdout.strip()).is_relative_to(ours)  # another distribution may own the name


def test_importing_methods_fails(tmp_path: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", "import methods"], env=environ, capture_output=True, text=True, cwd=tmp_path
    )
    assert "ModuleNotFoundError" in done.stderr


def test_every_public_name_can_be_imported() -> None:
    for name in bench.__all__:
        assert getattr(bench, name).__name__.rpartition(".")[2] == name or name == "Keep"  # a package is its path
    with pytest.raises(AttributeError, match="no attribute 'Trail'"):
        bench.Trail  # noqa: B018
