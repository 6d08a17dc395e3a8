"""Where a record comes from: package, commit, libraries, hardware, threads, and the command that makes it again."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bench.plugins.imported import is_import
from bench.specs.run import RunSpec
from bench.specs.track import Track

__all__ = ["device_class", "hardware", "manifest"]

_LIBRARIES: tuple[str, ...] = (
    "torch",
    "torchvision",
    "torch-pruning",
    "fvcore",
    "numpy",
    "pillow",
    "timm",
    "scikit-learn",
    "wandb",
    "gymnasium",
)
_LIBRARIES += ("stable-baselines3",)


def device_class(device: str) -> str:
    """The kind of device that results depend on: `cpu`, or the GPU's model."""
    return "cpu" if device == "cpu" else torch.cuda.get_device_name(0)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Output of a git command about the code's own checkout; None for an installed copy."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def hardware() -> dict[str, Any]:
    """What the machine is."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


@cache
def _constant() -> dict[str, Any]:
    """The part that stays the same as long as this process lives."""
    status = _git("status", "--porcelain")
    return {
        "version": _version("bench"),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "hardware": hardware(),
    }


def _own(track: Track) -> bool:
    """Whether a track names files of a user's own, whose paths begin in its folder."""
    return track.images is not None or track.weights is not None or is_import(track.network)


def manifest(spec: RunSpec, command: str, **facts: Any) -> dict[str, Any]:
    """The manifest of a record.

    Args:
        spec: the run.
        command: makes this row again.
        facts: what only the run knows: `data_fingerprint`, `dense_sha256`, ...
    """
    return {
        **_constant(),
        "command": command,
        "method_sha256": spec.method_sha256,
        "precision": spec.precision,
        "threads": spec.track.threads,
        "device": spec.device,
        "device_class": spec.device_class,
        **({"track_folder": str(spec.track.root)} if spec.track.root and _own(spec.track) else {}),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
    }
