"""`bench show`: one run, or those that a name means."""

from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, StoreOption
from bench.records.text import json_ascii

__all__ = ["show"]


def show(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help="Run id, the beginning of it or of its hash, or the path of a record.")
    ],
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record.")] = False,
) -> None:
    """Show one run: result, layers, ledger, settings and the command that makes it again; of several, list them."""
    from bench.cli.tables import show_record, show_records
    from bench.records.console import make_console
    from bench.records.lookup import find_records

    records = [record for record, _ in find_records(name, store)]
    if as_json and len(records) == 1:
        print(json_ascii(records[0].to_json()), end="")
    elif as_json:
        print(json_ascii("[" + ",\n".join(record.to_json().rstrip() for record in records) + "]"))
    elif len(records) == 1:
        show_record(records[0], make_console())
    else:
        show_records(records, make_console())
