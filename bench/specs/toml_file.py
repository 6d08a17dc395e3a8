"""Tracks and claims as files: those that come with bench by name, others by path, and what is wrong with one."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from bench.errors import UsageError, unknown_name

__all__ = ["built_in", "describe", "file_of", "parse_toml"]

Kind = Literal["track", "claim"]
Model = TypeVar("Model", bound=BaseModel)


def built_in(kind: Kind) -> dict[str, Path]:
    """The files of `leaderboard/tracks/` or `leaderboard/claims/`, by name."""
    folder = Path(str(files("bench.leaderboard") / f"{kind}s"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def file_of(kind: Kind, name: str) -> Path:
    """The file called `name`: a path where it ends in `.toml`, else one that comes with bench.

    Raises:
        UsageError: there is none.
    """
    known = built_in(kind)
    if not name.endswith(".toml"):
        if name not in known:
            raise unknown_name(kind, name, known)
        return known[name]
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"{kind} file {name!r} does not exist. Built-in {kind}s: {', '.join(known)}.")
    return path


def parse_toml(model: type[Model], content: bytes, source: str, stem: str, **more: Any) -> Model:
    """A model from the bytes of a TOML file; `source` names it in errors, `stem` is its name, `more` beside its fields.

    Raises:
        UsageError: not TOML, or a field is missing, unknown or wrong; every such field is named.
    """
    try:
        fields: dict[str, Any] = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number or a nesting past Python's limits
        raise UsageError(f"{source}: not a TOML file: {error}") from None
    try:
        return model.model_validate({"name": stem, **fields, **more})
    except ValidationError as error:
        raise UsageError(f"{source}: {describe(error)}") from None


def describe(error: ValidationError) -> str:
    """One line for each field that pydantic refused: where, why, and the value."""
    lines = []
    for each in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in each["loc"]) or "(whole file)"
        given = "" if each["type"] == "missing" or not each["loc"] else f" (given: {_shown(each['input'])})"
        lines.append(f"{where}: {each['msg']}{given}"[:300])
    return "; ".join(lines)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a number or a nesting past Python's limits
        return f"a {type(value).__name__} too large to print"
