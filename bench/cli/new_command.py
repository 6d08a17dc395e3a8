"""`bench new`: the files that a plugin, or a track of one's own, begins with."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["new_method"]


def new_method(
    name: Annotated[str, typer.Argument(help="What --method will call it.")],
    kind: Annotated[str, typer.Option(help="structured or unstructured.")] = "structured",
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Folder of a package of its own; default: this checkout of bench.")
    ] = None,
) -> None:
    """Write a method that works, and its test, to begin from."""
    from bench.cli.new_files import new_method as write

    made = write(name, kind, folder)
    print("\n".join(["wrote", *(f"  {path}" for path in made.paths), "next", *(f"  {each}" for each in made.commands)]))
