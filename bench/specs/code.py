"""What code a plugin is: a hash over its module and the modules of its own that it imports, libraries by version.

Sources count as their syntax trees, without comments, docstrings and layout, written down in a form of our own: the
hash is the same in every version of Python that can read them. The plugin's own modules are those that lie outside the
harness, the standard library and installed distributions, and those beside it in `bench.methods` or `bench.networks`;
imports are followed among them, wherever in a file they stand. Where it is asked for (a network that comes from a
library), an installed distribution that one of them imports counts by its version. Torch, NumPy and the harness do not
count: a record's manifest names their versions, and `bench.specs.run.PROTOCOL` stands for the harness. What a plugin
reads from other files is not code: see `bench.networks.identity` for weights.
"""

import ast
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from bench.errors import UsageError

__all__ = ["Source", "definition_sha256", "library_of", "normalised", "source_of", "source_sha256"]

_PLUGIN_FOLDERS = ("bench.methods.", "bench.networks.", "bench.datasets.")
_CONTRACT = ("bench.networks.base", "bench.networks.registry", "bench.networks.identity")
_EVERY_RUNS = ("torch", "numpy")
_INSTALLED = {"site-packages", "dist-packages"}
_NO_VALUE = {"ctx", "type_comment", "kind", "type_ignores"}  # fields of the tree that say nothing about what it does


@dataclass(frozen=True)
class Source:
    """The code of a plugin.

    Attributes:
        modules: hash of each module of its own, by import name.
        libraries: version of each distribution that these import, by name.
    """

    modules: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash over both, whatever the order."""
        lines = [f"{name} {sha256}" for name, sha256 in sorted(self.modules.items())]
        lines += [f"{name} == {version}" for name, version in sorted(self.libraries.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def lines(self) -> dict[str, str]:
        """For a record: the beginning of each module's hash, and `== VERSION` of each library."""
        modules = {name: sha256[:16] for name, sha256 in self.modules.items()}
        return modules | {name: f"== {version}" for name, version in self.libraries.items()}


def source_sha256(module: str) -> str:
    """Hash over the code of the plugin in `module`, libraries aside; see `source_of`."""
    return source_of(module).sha256


def source_of(
    module: str, folder: Path | None = None, with_libraries: bool = False, label: str | None = None
) -> Source:
    """The code of the plugin in `module`, its own imports followed.

    Args:
        module: its import name.
        folder: where its own modules are looked for first, for a plugin that is a file and not installed.
        with_libraries: whether the installed distributions that it imports count, by version.
        label: what the module is called in the result, where its import name is made up.

    Raises:
        UsageError: the module has no source file, or was edited after this process had imported it, so that its code
            here is not its source any more.
    """
    found: dict[str, str] = {}
    done: set[str] = set()
    libraries: dict[str, str] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        top = name.partition(".")[0]
        if name != module and _is_library(top, module, folder):
            libraries |= _distributions(top) if with_libraries else {}
            continue
        spec = None if name in done else _spec(name, folder)
        content = None if spec is None else _content(spec)
        if spec is None or content is None:
            continue
        done.add(name)
        tree = ast.parse(content) if str(spec.origin).endswith(".py") else None
        sha256 = hashlib.sha256(content if tree is None else normalised(tree).encode()).hexdigest()
        found[label if label and name == module else name] = sha256
        _refuse_stale(name, sha256)
        queue += _imports(tree, name, spec, module, folder) if tree else ()
    if (label or module) not in found:
        raise UsageError(f"{module} has no source file that can be read. Put the class into a file of its own.")
    return Source(dict(sorted(found.items())), dict(sorted(libraries.items())))


def library_of(module: str, folder: Path | None = None) -> Source | None:
    """The library that a module belongs to, by its version; None for one that is no installed distribution's."""
    top = module.partition(".")[0]
    return Source(libraries=_distributions(top)) if _is_library(top, "", folder) else None


def definition_sha256(cls: type) -> str:
    """Hash over the code of one class: its definition and what it names of its module, followed.

    A part of a plugin that is cached apart, such as an observer, is known by it: the rest of the file may change. A
    class inside a function counts with its whole module.
    """
    spec = _spec(cls.__module__, None)
    content = None if spec is None else _content(spec)
    definitions = _definitions(ast.parse(content)) if content is not None else {}
    if spec is None or cls.__qualname__ not in definitions:
        return source_sha256(cls.__module__)
    found: dict[str, str] = {}
    queue = [cls.__qualname__]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found[name] = ""
        for node in definitions[name]:
            found[name] += normalised(node)
            for imported in _imports(ast.Module([node], []), cls.__module__, spec, cls.__module__, None):
                found[imported] = source_sha256(imported)
            queue += [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and each.id in definitions]
    text = "".join(f"{name}\0{found[name]}\0" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()


def _definitions(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Statements at the top of a module, by the names that they give a meaning to."""
    found: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        else:
            names = [
                each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            ]
        for name in names:
            found.setdefault(name, []).append(node)
    return found


def normalised(tree: ast.AST) -> str:
    """The syntax tree as text, without comments, docstrings, layout and line numbers.

    Statements that do nothing (`pass`, a lone constant such as a docstring or `...`) are left out.
    """
    words: list[str] = []
    _write(tree, words)
    return "".join(words)


def _write(value: Any, words: list[str]) -> None:
    if isinstance(value, ast.AST):
        words.append(type(value).__name__ + "(")
        for name, part in ast.iter_fields(value):
            if name not in _NO_VALUE and part is not None and part != []:
                words.append(name + "=")
                _write(part, words)
        words.append(")")
    elif isinstance(value, list):
        words.append("[")
        for part in value:
            if not _does_nothing(part):
                _write(part, words)
                words.append(",")
        words.append("]")
    else:
        words.append(repr(value))


def _does_nothing(node: Any) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _imports(tree: ast.AST, name: str, spec: ModuleSpec, root: str, folder: Path | None) -> Iterator[str]:
    """Modules that a module imports and that count: by statements anywhere in it, or by `import_module("NAME")`."""
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _counts(alias.name))
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute("." * node.level + (node.module or ""), package)
            if origin is None or not any(_counts(f"{origin}.{alias.name}") for alias in node.names):
                continue
            if _is_library(origin.partition(".")[0], root, folder):
                yield origin
                continue
            parts = [f"{origin}.{alias.name}" for alias in node.names] if _is_package(origin, folder) else []
            modules = [part for part in parts if _counts(part) and _spec(part, folder) is not None]
            yield from modules
            if _counts(origin) and len(modules) < len(node.names):  # what it itself defines
                yield origin
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            named = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(named, str):
                origin = _absolute(named, package)
                yield from [origin] if origin is not None and _counts(origin) else []


def _counts(name: str) -> bool:
    """Whether a module of this import name may be a plugin's own, or a library's that counts."""
    top = name.partition(".")[0]
    if top == "bench":
        return name.startswith(_PLUGIN_FOLDERS) and name not in _CONTRACT
    return top not in sys.stdlib_module_names and top not in _EVERY_RUNS


def _absolute(name: str, package: str) -> str | None:
    try:
        return importlib.util.resolve_name(name, package) or None
    except (ImportError, ValueError):
        return None


def _spec(name: str, folder: Path | None) -> ModuleSpec | None:
    """Where a module's source is; None where there is no such module."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(loaded, ModuleSpec):
        return loaded
    if file := getattr(sys.modules.get(name), "__file__", None):  # a script, or a module that something put there
        return ModuleSpec(name, None, origin=file)
    try:
        if folder is not None and (found := importlib.machinery.PathFinder.find_spec(name, [str(folder)])) is not None:
            return found
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None


def _is_package(name: str, folder: Path | None) -> bool:
    spec = _spec(name, folder)
    return spec is not None and spec.submodule_search_locations is not None


def _content(spec: ModuleSpec) -> bytes | None:
    """The bytes of a module's file; None for a namespace package or a module built in."""
    if spec.origin is None or spec.origin in ("built-in", "frozen"):
        return None
    try:
        return Path(spec.origin).read_bytes()
    except OSError:
        read = getattr(spec.loader, "get_data", None)  # in an archive
        try:
            content: bytes | None = read(spec.origin) if read else None
        except OSError:
            return None
        return content


def _is_library(top: str, root: str, folder: Path | None) -> bool:
    """Whether the top-level import name is of an installed distribution, and not of the plugin `root` itself."""
    if top in ("bench", root.partition(".")[0]):
        return False
    spec = _spec(top, folder)
    places = [] if spec is None else [str(spec.origin), *(spec.submodule_search_locations or ())]
    return any(not _INSTALLED.isdisjoint(Path(place).parts) for place in places) and bool(_distributions(top))


@cache
def _distributions(top: str) -> dict[str, str]:
    """Versions of the distributions that bring the import name `top`, without the build's label (`+cpu`)."""
    try:
        return {top: _version(top)}
    except importlib.metadata.PackageNotFoundError:  # called otherwise: to ask all of them takes a second
        return {name: _version(name) for name in importlib.metadata.packages_distributions().get(top, [])}


def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution).partition("+")[0]


_first_seen: dict[str, tuple[ModuleSpec, str]] = {}


def _refuse_stale(name: str, sha256: str) -> None:
    """Remembers the source of a module that is imported here, and refuses another one of the same import."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if not isinstance(loaded, ModuleSpec):
        return
    seen = _first_seen.setdefault(name, (loaded, sha256))
    if seen[0] is not loaded:
        _first_seen[name] = (loaded, sha256)
    elif seen[1] != sha256:
        raise UsageError(
            f"{name} was edited after this process had imported it, so that its results would be called those of "
            "another source. Give the command again."
        )
