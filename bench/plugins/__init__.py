"""Finding plugins: methods, data sets and networks, by listing a folder and an entry-point group.

Nothing in `bench` imports a plugin by name. A plugin is a class with a `name`, in a public module (no leading
underscore) of the package or behind an entry point of another distribution. A plugin that cannot be imported
does not take the others down: it is kept aside and named when somebody asks for it.

Importing runs a plugin's code, which may set anything in its process. So a run's process imports the plugins that it
needs and no others (`find`), and what others distribute is imported in a copy of the process first.
"""

import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from bench.errors import UsageError, unknown_name

__all__ = ["Discovered", "discover", "find", "only_here", "registered"]

_IMPORTED, _RAISED = 77, 78
_IMPORT_SECONDS = 120.0


@dataclass(frozen=True)
class Discovered:
    """What was found for one kind of plugin: classes by name, and the errors of modules that failed."""

    kind: str
    classes: dict[str, type] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> type:
        """The plugin class called `name`.

        Raises:
            UsageError: no such plugin; the near names are listed, and the modules that failed to import.
        """
        if name in self.classes:
            return self.classes[name]
        error = unknown_name(self.kind, name, self.classes)
        if self.broken:
            raise UsageError(f"{error} These could not be imported: {'; '.join(self.complaints)}")
        raise error

    @property
    def complaints(self) -> tuple[str, ...]:
        """One sentence for each module that failed: which, and why."""
        return tuple(f"{module}: {why}" for module, why in self.broken.items())


def _classes(module: Any, base: type) -> list[type]:
    """Concrete named subclasses of `base` that `module` itself defines."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
        and "name" in vars(value)
    ]


def _offered(loaded: Any, base: type) -> list[type]:
    """The plugins behind an entry point or in a module."""
    if not inspect.isclass(loaded):
        return _classes(loaded, base)
    named = (
        issubclass(loaded, base) and not inspect.isabstract(loaded) and isinstance(getattr(loaded, "name", None), str)
    )
    return [loaded] if named else []


@cache
def discover(package: str, group: str, base: type) -> Discovered:
    """All plugins that derive from `base`.

    Args:
        package: import name of the package whose public modules are listed, e.g. `bench.methods`.
        group: entry-point group of plugins in other distributions; each entry names a module or a class.
        base: the class that plugins derive from.

    Raises:
        UsageError: two plugins have the same name.
    """
    found = Discovered(kind=group.removeprefix("bench.").removesuffix("s"))
    for label, entry in _sources(package, group):
        if entry is not None and (why := _harm(entry)):
            found.broken[label] = why
            continue
        try:
            loaded = importlib.import_module(label) if entry is None else entry.load()
        except (Exception, SystemExit) as error:  # an import may fail in any way, and must not hurt the others
            found.broken[label] = " ".join(f"{type(error).__name__}: {error}".split())
            continue
        classes = _offered(loaded, base)
        if entry is not None and not classes:
            found.broken[label] = (
                f"it offers no class that derives from {base.__module__}.{base.__name__} and has a name. Let the entry "
                "point name the module that defines the class, or the class."
            )
        for cls in classes:
            name = str(getattr(cls, "name", ""))
            if found.classes.get(name, cls) is not cls:
                other = found.classes[name]
                raise UsageError(
                    f"two plugins are called {name!r}: {other.__module__} and {cls.__module__}. Rename one."
                )
            found.classes[name] = cls
    _whole[package, group, base] = found
    return found


_whole: dict[tuple[str, str, type], Discovered] = {}
"""What `discover` has found."""


def find(package: str, group: str, base: type, name: str) -> type:
    """The plugin called `name`, without importing the others where their sources tell which one it is.

    Args:
        package, group, base: as of `discover`.
        name: of the plugin.

    Raises:
        UsageError: there is none, or there are two; the near names are listed.
    """
    whole = _whole.get((package, group, base))
    if whole is None:
        only = _by_source(package, group, base, name)
        if only is not None:
            return only
        whole = discover(package, group, base)
    return whole.get(name)


def _sources(package: str, group: str) -> list[tuple[str, EntryPoint | None]]:
    """The modules of the package and the entry points, by what people know them by."""
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    own = [f"{package}.{entry.name}" for entry in modules if not entry.name.startswith("_")]
    others = [(f"{entry.name} ({entry.value})", entry) for entry in entry_points(group=group)]
    return [*((name, None) for name in own), *others]


def _by_source(package: str, group: str, base: type, name: str) -> type | None:
    """The plugin in the one module whose source gives a class this name; None where that is not certain."""
    given = re.compile(rf"""^[ \t]+name[ \t]*(?::[^=\n]+)?=[ \t]*["']{re.escape(name)}["']""", re.MULTILINE)
    hits = [
        (label, entry)
        for label, entry in _sources(package, group)
        if (entry is not None and entry.name == name)
        or given.search(_source(package, label) if entry is None else _source("", entry.module))
    ]
    if len(hits) != 1:
        return None
    ((label, entry),) = hits
    if entry is not None and _harm(entry):
        return None
    try:
        loaded = importlib.import_module(label) if entry is None else entry.load()
    except (Exception, SystemExit):  # `discover` says so
        return None
    classes = [cls for cls in _offered(loaded, base) if getattr(cls, "name", None) == name]
    return classes[0] if len(classes) == 1 else None


def _source(package: str, module: str) -> str:
    """The source of a module that is not imported, of a package that is or of none; empty where there is none."""
    try:
        if package:
            spec = PathFinder.find_spec(module, importlib.import_module(package).__path__)
        else:
            first, *rest = module.split(".")
            spec = importlib.util.find_spec(first)
            for number in range(len(rest)):
                if spec is None:
                    return ""
                spec = PathFinder.find_spec(".".join((first, *rest[: number + 1])), spec.submodule_search_locations)
        return Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin else ""
    except (OSError, ValueError, ImportError, AttributeError):
        return ""


def _harm(entry: EntryPoint) -> str:
    """What importing another distribution's plugin does to a copy of this process; empty where that lives on."""
    if not hasattr(os, "fork"):
        return ""
    pid = os.fork()
    if pid == 0:
        _import_and_end(entry)
    end = time.monotonic() + _IMPORT_SECONDS
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return f"importing it does not end within {_IMPORT_SECONDS:.0f} s"
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(ended[1])
    if code == _IMPORTED:
        return ""
    if code == _RAISED:
        return "importing it raises what is no error, such as KeyboardInterrupt"
    return f"importing it ends the process, with {f'signal {-code}' if code < 0 else f'exit code {code}'}"


def _import_and_end(entry: EntryPoint) -> None:
    """In the copy: imports, and ends; what is printed goes nowhere."""
    code = _RAISED
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        entry.load()
        code = _IMPORTED
    except (Exception, SystemExit):  # as it will in this process, where that is kept
        code = _IMPORTED
    finally:
        os._exit(code)


_only_here: list[type] = []


def only_here() -> bool:
    """Whether there are plugins that no other process would find: those of `registered`."""
    return bool(_only_here)


@contextmanager
def registered(package: str, group: str, base: type, cls: type) -> Iterator[None]:
    """`cls` is among the plugins inside this context, in place of one of its name: for classes not installed."""
    classes, name = discover(package, group, base).classes, str(getattr(cls, "name", ""))
    before = classes.get(name)
    classes[name] = cls
    _only_here.append(cls)
    try:
        yield
    finally:
        _only_here.remove(cls)
        if before is None:
            del classes[name]
        else:
            classes[name] = before
