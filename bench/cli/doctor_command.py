"""`bench doctor`: this machine."""

import os
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, DataOption, StoreOption
from bench.data.folder import data_folder
from bench.records.text import json_text

__all__ = ["doctor"]


def doctor(
    store: StoreOption = DEFAULT_STORE,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Look at this machine: installation, devices and their speed, data sets, W&B, disk, and what to do about each.

    Exit code 1 if something stands in the way of a run.
    """
    from bench.cli.examination import examine, print_findings

    found = list(examine(store, data_folder(data), os.environ))
    if as_json:
        print(json_text([finding.as_json() for finding in found]))
    else:
        print_findings(found)
    raise typer.Exit(int(any(finding.state == "broken" for finding in found)))
