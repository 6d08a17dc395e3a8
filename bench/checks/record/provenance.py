"""Does a record's commit exist, and did its method have that source there? Asked of the repository, not of the record.

The commit's own code hashes the commit's own methods: how a source is hashed has changed and may change again. What an
installed copy, a shallow clone or a method of another package cannot tell is said to be unknown, never to hold.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

from bench.checks.record.submission import Doubtful, Refused, Submission

__all__ = ["provenance_check", "repository"]

_SECONDS = 60
_PARTS = ("bench", "methods", "datasets")
# The commit's function, wherever it stood then; find_spec gives what is below the folder on the path.
_HASH = """
import importlib, json, sys
# an editable install would give today's modules for those that the commit has not
sys.meta_path = [each for each in sys.meta_path if "Editable" not in getattr(each, "__name__", type(each).__name__)]
for name in ("bench.specs.code", "bench.specs.run", "bench.spec"):
    try:
        found = importlib.import_module(name).source_sha256
        break
    except (ImportError, AttributeError):
        continue
else:
    sys.exit("no source_sha256 in this commit")
hashes = {}
for module in sys.argv[1:]:
    try:
        hashes[module] = found(f"bench.methods.{module}")
    except Exception as error:
        hashes[module] = f"{type(error).__name__}: {error}"
print(json.dumps(hashes))
"""


def provenance_check(it: Submission, root: Path | None = None) -> str:
    """The record's commit and its method's source there.

    Args:
        it: the record.
        root: of the repository; None: this checkout's.

    Raises:
        Refused: there is no such commit, or the method has another source in it.
        Doubtful: the repository is not here, is cut off, or cannot tell.
    """
    manifest = it.record.manifest
    root = root or repository()
    if root is None:
        raise Doubtful("there is no repository here: commit and source were not looked up. Run it in a checkout")
    commit = str(manifest.get("git_commit"))
    if not commit.isalnum() or _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        if _git(root, "rev-parse", "--is-shallow-repository") != b"false\n":
            raise Doubtful(f"the history here is cut off, so that commit {commit[:12]} was not found: clone all of it")
        raise Refused(f"manifest.git_commit is {commit!r}, and there is no such commit in this repository")
    if manifest.get("git_dirty"):
        raise Doubtful(f"made at {commit[:12]} with changes that were not committed: nothing shows what they were")
    name = it.method.__module__
    module = name.removeprefix("bench.methods.")
    if module == name:
        raise Doubtful(f"{name} is a method of another package, whose source is not in this repository")
    hashes = _hashes(root, commit)
    said, found = manifest.get("method_sha256"), hashes.get(module)
    if found is None:
        raise Refused(f"method is {it.record.method!r}, and commit {commit[:12]} has no methods/{module}.py")
    if len(found) != 64:
        raise Doubtful(f"commit {commit[:12]} cannot say what source {module} had ({found[:120]})")
    if found != said:
        raise Refused(f"manifest.method_sha256 is {said}, and at commit {commit[:12]} methods/{module}.py has {found}")
    return f"methods/{module}.py of commit {commit[:12]}"


@cache
def repository() -> Path | None:
    """The root of this checkout; None for an installed copy, or where git cannot be run."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / ".git").exists() and _git(root, "rev-parse", "HEAD") is not None else None


@cache
def _hashes(root: Path, commit: str) -> Mapping[str, str]:
    """By module, the hash of each method's source at a commit, as that commit's code makes it."""
    parts = [part for part in _PARTS if _git(root, "cat-file", "-e", f"{commit}:{part}") is not None]
    archive = _git(root, "archive", commit, *parts)
    if archive is None or "methods" not in parts:
        return {}
    with tempfile.TemporaryDirectory(prefix="bench-source-") as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        place = Path(folder)
        for part in parts[1:]:  # as they are installed
            (place / part).rename(place / "bench" / part)
        modules = sorted(path.stem for path in (place / "bench" / "methods").glob("[!_]*.py"))
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [sys.executable, "-c", _HASH, *modules],
                capture_output=True,
                timeout=_SECONDS,
                env=environment,
                cwd=folder,
                check=True,
            )
            found = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            return dict.fromkeys(modules, said.decode("utf-8", "replace").strip().splitlines()[-1][:120] or "no reason")
    return {module: str(sha256) for module, sha256 in found.items()}


def _git(root: Path, *arguments: str) -> bytes | None:
    """Output of a git command; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
