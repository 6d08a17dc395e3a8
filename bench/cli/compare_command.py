"""`bench compare`: runs side by side."""

from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from bench.records.text import json_text

__all__ = ["compare"]


def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Run ids, their beginnings, or records.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Hold runs against each other: what differs, results with intervals, ledgers and layers side by side."""
    from bench.leaderboard.compare.compare import compare_runs
    from bench.leaderboard.compare.compare_text import as_json as values
    from bench.leaderboard.compare.compare_text import print_comparison
    from bench.records.lookup import find_record

    comparison = compare_runs([find_record(name, store)[0] for name in names])
    if as_json:
        print(json_text(values(comparison)))
    else:
        print_comparison(comparison)
