"""The code that runs need, put into one folder that can be sent to another machine and imported there.

It holds `bench` with what is mapped below it, and every module behind an entry point of ours, each with the metadata by
which entry points are found. What those import beyond it has to be installed where they go, and so have our libraries.
"""

import importlib
import importlib.util
import shutil
from importlib.metadata import Distribution, distribution, entry_points
from pathlib import Path

__all__ = ["GROUPS", "pack_code"]

GROUPS = ("bench.methods", "bench.datasets", "bench.networks")
_MAPPED = ("bench.methods", "bench.datasets", "bench.leaderboard")
_LEFT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "results", "build")


def pack_code(folder: Path) -> Path:
    """Fills `folder`, which must not exist, and returns it.

    Raises:
        OSError: it cannot be written.
    """
    _copy_package("bench", folder / "bench")
    for name in _MAPPED:
        target = folder.joinpath(*name.split("."))
        if not target.exists():  # an installed copy has it there already
            _copy_package(name, target)
    found = {"bench": distribution("bench")}
    for group in GROUPS:
        for entry in entry_points(group=group):
            top = entry.module.partition(".")[0]
            if entry.dist is not None and top != "bench":
                found[entry.dist.name] = entry.dist
                _copy_module(top, folder)
    for dist in found.values():
        _write_metadata(dist, folder)
    return folder


def _copy_package(name: str, target: Path) -> None:
    shutil.copytree(next(iter(importlib.import_module(name).__path__)), target, ignore=_LEFT)


def _copy_module(name: str, folder: Path) -> None:
    """A module or package at the top, which is not imported for it."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return
    for location in spec.submodule_search_locations or ():
        shutil.copytree(location, folder / name, ignore=_LEFT, dirs_exist_ok=True)
    if not spec.submodule_search_locations and spec.origin and Path(spec.origin).is_file():
        shutil.copy(spec.origin, folder)


def _write_metadata(dist: Distribution, folder: Path) -> None:
    info = folder / f"{dist.name.replace('-', '_')}-{dist.version}.dist-info"
    info.mkdir(exist_ok=True)
    about = f"Metadata-Version: 2.1\nName: {dist.name}\nVersion: {dist.version}\n"
    (info / "METADATA").write_text(dist.read_text("METADATA") or dist.read_text("PKG-INFO") or about, encoding="utf-8")
    (info / "entry_points.txt").write_text(dist.read_text("entry_points.txt") or "", encoding="utf-8")
