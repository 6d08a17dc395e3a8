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


def test_dir_lists_the_public_names() -> None:
    assert dir(bench) == sorted(bench.__all__)


def test_in_the_folder_above_a_clone_the_clone_is_imported_and_no_empty_namespace(tmp_path: Path) -> None:
    (tmp_path / "bench").symlink_to(Path(__file__).resolve().parents[1], target_is_directory=True)
    check = (
        "import bench, bench.methods.l1 as l1, bench.datasets.digits as digits\n"
        "assert issubclass(l1.L1, bench.Method) and issubclass(digits.Digits, bench.Dataset)\n"
        "print(bench.__file__, l1.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    inner = Path(bench.__file__).resolve().parent
    assert [Path(path).resolve() for path in done.stdout.split()] == [
        inner / "__init__.py",
        inner.parent / "methods" / "l1.py",
    ]
