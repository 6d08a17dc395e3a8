"""`bench list`: what is installed."""

import sys
from typing import Annotated

import typer

from bench.cli.options import JsonOption
from bench.records.text import json_text

__all__ = ["list_"]


def list_(
    what: Annotated[
        str, typer.Argument(help="methods, tracks, datasets, networks, claims, or a method: its settings.")
    ],
    as_json: JsonOption = False,
) -> None:
    """List what is installed."""
    from bench.cli.catalogue import catalogue, catalogue_table, unusable
    from bench.records.console import make_console

    rows = catalogue(what)
    if as_json:
        print(json_text(rows))
    else:
        make_console().print(catalogue_table(what, rows))
    for complaint in unusable(what):
        print(f"not usable: {complaint}", file=sys.stderr)
