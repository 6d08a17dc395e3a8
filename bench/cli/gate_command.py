"""`bench gate`: a store held against a baseline."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, StoreOption, names_in
from bench.records.text import json_text

__all__ = ["gate"]


def gate(
    baseline: Annotated[Path, typer.Option(help="Folder of records to hold the store against.")],
    store: StoreOption = DEFAULT_STORE,
    track: Annotated[list[str] | None, typer.Option(help="Only these tracks.", show_default="all")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods.", show_default="all")] = None,
    margin: Annotated[
        float,
        typer.Option(help="Drop in top-1, in points, that is always accepted; up to --limit it fails if significant."),
    ] = 1.0,
    limit: Annotated[float, typer.Option(help="Drop in top-1, in points, that always fails.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
) -> None:
    """Hold a store against a baseline, for CI: exit code 1 if sizes changed, accuracy fell, or nothing was compared."""
    from bench.leaderboard.compare.gate import Rule, run_gate
    from bench.leaderboard.compare.gate_text import as_json as values
    from bench.leaderboard.compare.gate_text import as_markdown

    found = run_gate(baseline, store, Rule(margin, limit), names_in(track), names_in(method))
    print(json_text(values(found)) if as_json else as_markdown(found), end="\n" if as_json else "")
    raise typer.Exit(0 if found.holds else 1)
