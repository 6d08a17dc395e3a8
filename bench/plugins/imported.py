"""Something of a user's own, by where it is: `FILE.py:NAME` or `package.module:NAME`. Importing runs the file's code.

Used for networks (`bench.networks.own`) and for functions that give images (`bench.data.own`). A file that cannot be
imported, in whatever way, is a `UsageError` with the file, the line and what was raised there.
"""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import UsageError, unknown_name

__all__ = ["imported", "is_import", "module_of", "source_file"]


def is_import(text: str) -> bool:
    """Whether `text` names something to import: `FILE.py:NAME` or `package.module:NAME`."""
    where, colon, name = text.rpartition(":")
    dotted = all(part.isidentifier() for part in where.split("."))
    return bool(colon) and name.isidentifier() and (where.endswith(".py") or dotted)


def source_file(text: str, root: Path | None) -> Path | None:
    """The file of `FILE.py:NAME`, which begins in `root`; None for a module."""
    where = text.rpartition(":")[0]
    return (root or Path()) / where if where.endswith(".py") else None


def module_of(text: str, root: Path | None) -> ModuleType:
    """The module that `text` names, imported.

    Raises:
        UsageError: there is none, or importing it raises.
    """
    where = text.rpartition(":")[0]
    path = source_file(text, root)
    if path is not None and not path.is_file():
        raise UsageError(f"{text!r}: there is no file {path}. Give FILE.py:NAME with the path of the file.")
    folder = path.resolve().parent if path is not None else (root or Path()).resolve()
    if path is None and where.partition(".")[0] in sys.stdlib_module_names:  # a record may say `os:system`
        raise UsageError(f"{text!r}: {where} is Python's own module. Give FILE.py:NAME for a file of yours.")
    with _importable(folder):
        try:
            return importlib.import_module(where) if path is None else _from_file(path.resolve())
        except (Exception, SystemExit) as error:  # a user's file may fail in any way
            if isinstance(error, ModuleNotFoundError) and path is None and error.name == where.partition(".")[0]:
                raise UsageError(
                    f"{text!r}: there is no module {error.name!r} in {folder} or installed. Give FILE.py:NAME for a "
                    "file."
                ) from None
            if path is not None and "relative import with no known parent" in str(error):
                dotted = where.removesuffix(".py").replace("/", ".")
                raise UsageError(
                    f"{text!r} is part of a package, by its relative import ({_where(error, path)}). Name it as one, "
                    f"from the folder that holds the package: {dotted}:{text.rpartition(':')[2]}"
                ) from error
            raise UsageError(
                f"{text!r} cannot be imported: {_where(error, path)}. Correct it, and try it by itself: python "
                f"{path if path is not None else '-c ' + repr('import ' + where)}"
            ) from error


def imported(text: str, root: Path | None) -> Any:
    """What `text` names.

    Raises:
        UsageError: the module cannot be imported, or has nothing of that name; the near names are listed.
    """
    module, name = module_of(text, root), text.rpartition(":")[2]
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"{text!r}: {unknown_name('name', name, public)}")
    return getattr(module, name)


def _from_file(path: Path) -> ModuleType:
    """The module in a file, imported once while the file stays as it is."""
    content = path.read_bytes()
    digest = hashlib.sha256(str(path).encode() + b"\0" + content).hexdigest()[:12]
    name = f"_bench_own_{path.stem}_{digest}" if path.stem.isidentifier() else f"_bench_own_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles of the file's classes look it up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Files beside the imported one can be imported by it; nothing is written beside them."""
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = bytecode


def _where(error: BaseException, path: Path | None) -> str:
    """What was raised, with its line in the user's file where there is one."""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if path is not None:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path.resolve())
        ]
        if isinstance(error, SyntaxError) and error.filename == str(path.resolve()):
            lines.append(error.lineno)
        if lines:
            return f"{path}, line {lines[-1]}: {what}"
    return what
