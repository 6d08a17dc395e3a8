"""Finding plugins: methods, data sets and networks, by listing a folder and an entry-point group.

Nothing in `bench` imports a plugin by name. A plugin is a class with a `name`, in a public module (no leading
underscore) of the package or behind an entry point of another distribution. A plugin that cannot be imported
does not take the others down: it is kept aside and named when somebody asks for it.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from bench.errors import UsageError, unknown_name

__all__ = ["Discovered", "discover", "only_here", "registered"]


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
    sources: list[tuple[str, Any]] = []
    for entry in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not entry.name.startswith("_"):
            sources.append((f"{package}.{entry.name}", None))
    sources += [(f"{entry.name} ({entry.value})", entry) for entry in entry_points(group=group)]

    for label, entry in sources:
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
    return found


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
