"""Where a record comes from: package, commit, libraries, machine, inputs, and the command that makes it again."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.networks.registry import LIBRARIES
from bench.plugins.imported import is_import
from bench.records.hardware import hardware, numerics
from bench.specs.changes import inputs_of
from bench.specs.run import RunSpec
from bench.specs.track import Track

__all__ = ["git_state", "manifest"]

_LIBRARIES: tuple[str, ...] = (
    "torch",
    "torchvision",
    "fvcore",
    "numpy",
    "pillow",
    "timm",
    "scikit-learn",
    "wandb",
    "gymnasium",
)
_LIBRARIES += ("stable-baselines3",)
_ROOT = Path(__file__).resolve().parents[2]


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def git_state(root: Path = _ROOT) -> tuple[str | None, bool | None]:
    """Commit of the code's own checkout, and whether there are changes beside it.

    None and None where the code lies in no repository of its own: an installed copy, an archive, or a copy inside a
    repository that has other things under version control.
    """
    own = "bench/runner/manifest.py"
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve() or _git(root, "ls-files", "--error-unmatch", own) is None:
        return None, None
    status = _git(root, "status", "--porcelain")
    return _git(root, "rev-parse", "HEAD"), None if status is None else bool(status)


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command in `root`, whatever repository the environment names; None where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), "-c", f"safe.directory={root}", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def _constant() -> dict[str, Any]:
    """The part that stays the same as long as this process lives."""
    commit, dirty = git_state()
    return {
        "version": _version("bench"),
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "hardware": hardware(),
    }


def _own(track: Track) -> bool:
    """Whether a track names files of a user's own, whose paths begin in its folder."""
    imports = is_import(track.network) and not track.network.startswith(tuple(LIBRARIES))
    return track.images is not None or track.weights is not None or imports


def manifest(spec: RunSpec, command: str, **provenance: Any) -> dict[str, Any]:
    """The manifest of a record.

    Args:
        spec: the run.
        command: makes this row again.
        provenance: what only the run knows: `dense_sha256`, `machines`, ...
    """
    return {
        **_constant(),
        "numerics": numerics(),
        "command": command,
        **inputs_of(spec),
        "precision": spec.precision,
        "threads": spec.track.threads,
        "device": spec.device,
        "device_class": spec.device_class,
        **({"track_folder": str(spec.track.root)} if spec.track.root and _own(spec.track) else {}),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance,
    }
