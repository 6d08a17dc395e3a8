"""Options that several commands take, and how commands share a set of them."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "DEFAULT_STORE",
    "DataOption",
    "EntityOption",
    "JsonOption",
    "ProjectOption",
    "StoreOnlyOption",
    "StoreOption",
    "TracksShown",
    "names_in",
    "with_options",
]

DEFAULT_STORE = Path("runs")
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the runs.")]
ProjectOption = Annotated[str | None, typer.Option(help="W&B project.", show_default="WANDB_PROJECT, else bench")]
EntityOption = Annotated[
    str | None, typer.Option(help="Whose W&B project.", show_default="WANDB_ENTITY, else the account's")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data folder.", show_default="BENCH_DATA, else the user's cache")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StoreOnlyOption = Annotated[bool, typer.Option("--store-only", help="Leave out the results that come with bench.")]
TracksShown = Annotated[
    list[str] | None, typer.Option("--track", help="Only this track; may be given again.", show_default="all")
]


def names_in(values: list[str] | None) -> tuple[str, ...]:
    """Names that were given one by one or with commas between them."""
    names = tuple(name for value in values or () for name in value.split(",") if name)
    return names or (("",) if values else ())  # a lone comma is a mistake, not a wish for the default


def with_options(shared: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes of `command(given, ...)` a command that takes each field of the dataclass `shared` as an option, first."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**given: Any) -> None:
            asked = shared(**{field.name: given.pop(field.name) for field in fields(shared)})
            command(asked, **given)

        first = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in fields(shared)
        ]
        _, *own = inspect.signature(command).parameters.values()
        every = [*first, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own)]
        called.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in every}
        return called

    return decorate
