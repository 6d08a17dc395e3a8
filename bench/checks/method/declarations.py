"""Checks of the class itself: what it declares, its settings, its file. No network is made."""

import ast
import importlib.util
import inspect
import json
import pickle
import re
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

from bench.checks.method.case import Case, CheckFailed
from bench.errors import UsageError
from bench.runner.needs import NEEDS
from bench.training.hooks import Observer
from bench.trial.method import Config, Method

__all__ = ["declarations", "importable", "observers", "public_names", "settings"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_CHOICES = ("kind", "starts", "finetunes", "targets")
_PUBLIC_MODULES = ("bench.rl",)


def declarations(case: Case) -> str:
    """Name, reference, docstring, and the words that choose between behaviours."""
    method = case.method
    if not isinstance(method.name, str) or not _NAME.fullmatch(method.name):
        raise CheckFailed(f"name is {method.name!r}. Use lower-case letters, digits, '-' and '_'.")
    if not isinstance(getattr(method, "reference", None), str) or not method.reference.strip():
        raise CheckFailed("reference is missing. Name the paper with authors and year, or say what the method is.")
    hints = get_type_hints(Method, localns={"Trial": object})
    for name in _CHOICES:
        allowed = get_args(get_args(hints[name])[0])
        if getattr(method, name) not in allowed:
            raise CheckFailed(f"{name} is {getattr(method, name)!r}. Use one of {', '.join(map(repr, allowed))}.")
    if unknown := [need for need in method.needs if need not in NEEDS]:
        raise CheckFailed(f"needs holds {unknown[0]!r}, which nobody can check. Use {', '.join(map(repr, NEEDS))}.")
    if not (vars(method).get("__doc__") or "").strip():
        raise CheckFailed("the class has no docstring. Say what it does, its source, and where it deviates.")
    return f"{method.kind}, starts {method.starts}, fine-tuned by {method.finetunes}"


def settings(case: Case) -> str:
    """Every setting has a default and a description, can be typed after `--set`, and survives JSON."""
    config = case.method.Config
    if not (inspect.isclass(config) and issubclass(config, Config)):
        raise CheckFailed(f"Config is {config!r}. Derive it from bench.Config.")
    for name, field in config.model_fields.items():
        if field.is_required():
            raise CheckFailed(f"setting {name!r} has no default. Give one: a bare `bench run` must work.")
        if not (field.description or "").strip():
            raise CheckFailed(f"setting {name!r} has no description. Add Field(..., description='...').")
        default = getattr(config(), name)
        try:
            typed = Case(case.method, (f"{name}={_text(default)}",), Path()).config
        except UsageError as error:
            raise CheckFailed(f"--set {name}={_text(default)}, its default, is refused: {error}") from None
        if config.model_validate(typed) != config():
            raise CheckFailed(f"--set {name}={_text(default)}, its default, gives {typed[name]!r}. Fix its validator.")
    given = config.model_validate(case.config)
    if config.model_validate(json.loads(json.dumps(given.model_dump(mode="json"), allow_nan=False))) != given:
        raise CheckFailed("the settings change when they are written as JSON and read again. Use plain types.")
    return f"{len(config.model_fields)} settings"


def observers(case: Case) -> str:
    """Observers derive from `bench.Observer`, have names of their own, and need nothing to be made."""
    names = []
    for each in case.method.observers:
        if not (inspect.isclass(each) and issubclass(each, Observer)):
            raise CheckFailed(f"observers holds {each!r}. List classes that derive from bench.Observer.")
        if not isinstance(getattr(each, "name", None), str) or not _NAME.fullmatch(each.name):
            raise CheckFailed(f"{each.__name__} has no usable name: it names a file. Use lower-case letters and '-'.")
        each()
        names.append(each.name)
    if len(set(names)) < len(names):
        raise CheckFailed(f"two observers have the same name: {', '.join(names)}. Rename one.")
    return ", ".join(names) or "none"


def importable(case: Case) -> str:
    """The class is found by its import name (workers need that), and its file runs twice to the same class."""
    method = case.method
    if pickle.loads(pickle.dumps(method)) is not method:
        raise CheckFailed("the class is not what its import name gives. Define it at the top of its module, once.")
    spec = importlib.util.find_spec(method.__module__)
    if spec is None or spec.loader is None:
        raise CheckFailed(f"module {method.__module__} has no file that a worker could import. Put it in a package.")
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    again = getattr(fresh, method.__qualname__, None)
    if getattr(again, "name", None) != method.name:
        raise CheckFailed(
            f"a second import of {method.__module__} gives no {method.name!r}. Keep import free of state."
        )
    return f"{method.__module__}.{method.__qualname__}"


def public_names(case: Case) -> str:
    """The file takes from `bench` only its public names: the rest may change without notice."""
    source = inspect.getsourcefile(case.method)
    if source is None or not Path(source).is_file():
        return "no source to read"
    module = case.method.__module__
    package = module.rpartition(".")[0] or module
    for node in ast.walk(ast.parse(Path(source).read_bytes())):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for name in _imported(node):
            if not _allowed(name, package):
                raise CheckFailed(
                    f"line {node.lineno} imports {name}. Write `from bench import ...`, public names only."
                )
    return "public names of bench only"


def _text(default: object) -> str:
    """A default as a person would type it."""
    return default if isinstance(default, str) else json.dumps(default)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Dotted names that an import statement takes; for `from bench import X` that is `bench.X`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level:
        return []  # beside it, in its own package
    return [f"bench.{alias.name}" for alias in node.names] if node.module == "bench" else [node.module or ""]


def _allowed(name: str, package: str) -> bool:
    root, _, rest = name.partition(".")
    if root != "bench" or not rest or name.startswith(package + "."):
        return True
    return rest in _public_names() or any(name == each or name.startswith(each + ".") for each in _PUBLIC_MODULES)


def _public_names() -> list[str]:
    """What a plugin finds in `bench`: looked up as a plugin does, since the harness itself builds on none of it."""
    names: list[str] = import_module("bench").__all__
    return names
