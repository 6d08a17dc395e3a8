"""What a run is, before it runs: method x track x target x seed, resolved, and its identity.

The run's id is a hash over everything that decides the result. Done already means that a record with this id
exists; anything edited (a setting, the method's source, the track) is another id.
"""

import ast
import hashlib
import importlib.util
import json
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from bench.records.record import SCHEMA
from bench.specs.budget import Unit
from bench.specs.target import Target
from bench.specs.track import Track

__all__ = ["RunSpec", "package_sha256", "source_sha256"]


@dataclass(frozen=True)
class RunSpec:
    """One run, resolved.

    Attributes:
        method: name of the method.
        config: the method's settings, all of them, as JSON values.
        method_sha256: hash over the method's source.
        track: the comparison, with the budget that is really used.
        unit: unit of the binding budget.
        target: what to reach.
        seed: fixes everything that is drawn.
        device: `cpu` or `cuda`.
        device_class: kind of device that results depend on; `cpu`, or the GPU's model.
    """

    method: str
    config: dict[str, Any]
    method_sha256: str
    track: Track
    unit: Unit
    target: Target
    seed: int
    device: Literal["cpu", "cuda"] = "cpu"
    device_class: str = "cpu"

    @property
    def precision(self) -> str:
        """Arithmetic on this device: `float32` or `bfloat16`."""
        return self.track.precision.cpu if self.device == "cpu" else self.track.precision.cuda

    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON values."""
        return {
            "schema": SCHEMA,
            "method": self.method,
            "config": self.config,
            "method_sha256": self.method_sha256,
            "track": _deciding(self.track),
            "unit": self.unit,
            "target": str(self.target),
            "seed": self.seed,
            "precision": self.precision,
            "device_class": self.device_class,
        }

    @cached_property
    def run_id(self) -> str:
        """Readable prefix and hash, safe as a folder name, at most 128 characters."""
        label = f"{self.method}-{self.track.name}-{str(self.target).replace('=', '')}-s{self.seed}"
        safe = "".join(c if c.isalnum() or c in "-._" else "-" for c in label)[:100]
        return f"{safe}-{digest(self.identity())[:12]}"

    def with_target(self, target: Target) -> "RunSpec":
        """The same run with another target."""
        return replace(self, target=target)


def _deciding(track: Track) -> dict[str, Any]:
    """The track's fields that decide a single run: not its sentence, nor the lists that only make the plan."""
    left_out = {"summary", "targets", "seeds", "ranked", "latency_batch"}
    own = {name for name in ("settings", "weights", "images") if not getattr(track, name)}
    return track.model_dump(mode="json", exclude=left_out | own)


def digest(value: Any) -> str:
    """SHA-256 over a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def package_sha256() -> str:
    """Hash over the harness's own source files, plugins not included."""
    root = Path(__file__).parent.parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def source_sha256(module: str) -> str:
    """Hash over a plugin's source: its module and the modules beside it that it imports, followed."""
    package = module.rpartition(".")[0]
    seen: dict[str, bytes] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        spec = importlib.util.find_spec(name)
        if name in seen or spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        seen[name] = Path(spec.origin).read_bytes()
        queue += _siblings(seen[name], package)
    return hashlib.sha256(b"\0".join(name.encode() + b"\0" + seen[name] for name in sorted(seen))).hexdigest()


def _siblings(source: bytes, package: str) -> list[str]:
    """Modules of `package` that `source` imports, absolutely or relatively."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith(package + ".")]
        elif isinstance(node, ast.ImportFrom):
            base = package if node.level == 1 else ""
            origin = ".".join(part for part in (base, node.module or "") if part)
            if origin == package:
                found += [f"{package}.{alias.name}" for alias in node.names]
            elif package and origin.startswith(package + "."):
                found.append(origin)
    return [name for name in found if _exists(name)]


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
