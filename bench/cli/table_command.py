"""`bench table`: what is typed, handed to `bench.leaderboard.tables`."""

import shlex
import sys
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, StoreOnlyOption, StoreOption, TracksShown
from bench.errors import unknown_name

__all__ = ["table"]


def table(
    how: Annotated[
        str, typer.Option("--format", help="text, markdown, csv (every column) or latex (booktabs).")
    ] = "text",
    per: Annotated[
        str, typer.Option(help="What a row is: row (a method at a target, means over seeds), seed, epoch or layer.")
    ] = "row",
    track: TracksShown = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Only this target, such as macs=0.5; may be given again.", show_default="all"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    store_only: StoreOnlyOption = False,
) -> None:
    """Print the leaderboard's tables, or one row a run, an epoch or a layer, for papers and data frames."""
    from bench.cli.shown_records import all_records
    from bench.leaderboard.tables.flat import PER, chosen, fingerprint, flat_tables
    from bench.leaderboard.tables.write import FORMATS, written
    from bench.records.store import read_records

    for value, known, name in ((how, FORMATS, "format"), (per, PER, "row of a table")):
        if value not in known:
            raise unknown_name(name, value, known)
    found = read_records(store)[0] if store_only else all_records(store)[0]
    records = chosen(found, track or (), target or ())
    command = shlex.join(["bench", *sys.argv[1:]])
    print(written(flat_tables(records, per), how, command, fingerprint(records)), end="")  # type: ignore[arg-type]
