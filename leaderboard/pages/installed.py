"""What the installed methods say of themselves, as text: for their pages."""

import inspect
import multiprocessing
import sys
import types
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["Installed", "Setting", "installed_methods"]


@dataclass(frozen=True)
class Setting:
    """One setting: its name, type with bounds, default, and what it does."""

    name: str
    type: str
    default: str
    description: str


@dataclass(frozen=True)
class Installed:
    """One method. Fields as in `bench.trial.method.Method`; `text` is its docstring."""

    name: str
    kind: str
    control: bool
    starts: str
    finetunes: str
    targets: str
    reference: str
    text: str
    settings: tuple[Setting, ...]


def installed_methods() -> dict[str, Installed]:
    """All methods by name, controls first.

    Where torch is not imported yet, another process imports them: half a gigabyte, which does not stay.
    """
    if "torch" in sys.modules or "fork" not in multiprocessing.get_all_start_methods():
        return _installed()
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(_installed).result()


def _installed() -> dict[str, Installed]:
    from bench.trial.methods import method_classes

    return {
        name: Installed(
            name,
            method.kind,
            method.control,
            method.starts,
            method.finetunes,
            method.targets,
            str(method.reference),
            inspect.cleandoc(method.__doc__ or ""),
            tuple(
                Setting(
                    key,
                    type_text(field.annotation) + _bounds(field.metadata),
                    "required" if field.is_required() else _plain(field.get_default(call_default_factory=True)),
                    field.description or "",
                )
                for key, field in method.Config.model_fields.items()
            ),
        )
        for name, method in method_classes().items()
    }


def type_text(annotation: Any) -> str:
    """A type as a person writes it: `float`, `all | inner`, `list of int`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(_plain(each) for each in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(each) for each in arguments)
    if origin in (list, tuple, set, frozenset) and arguments:
        inner = [type_text(each) for each in arguments if each is not Ellipsis]
        return f"{origin.__name__} of {', '.join(inner)}"
    if hasattr(annotation, "__metadata__"):
        return type_text(arguments[0]) + _bounds(annotation.__metadata__)
    if annotation is type(None):
        return "none"
    return getattr(annotation, "__name__", None) or str(annotation)


def _bounds(metadata: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [
        f"{sign} {getattr(each, name):g}"
        for each in metadata
        for name, sign in signs.items()
        if isinstance(getattr(each, name, None), int | float)
    ]
    return f", {', '.join(found)}" if found else ""


def _plain(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
