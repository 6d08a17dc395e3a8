"""`bench best`: what is typed, handed to `bench.leaderboard.compare.best`."""

from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from bench.records.text import json_text

__all__ = ["best"]


def best(
    track: Annotated[str, typer.Option(help="Track, or its TOML file.")],
    target: Annotated[str, typer.Option(help="Share of the dense network that stays, such as macs=0.5.")],
    budget: Annotated[
        str | None, typer.Option(help="The --budget that the runs had.", show_default="the track's")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Say which method kept most at a target: chosen on validation, with what it cannot be told apart from."""
    from bench.leaderboard.compare.best import best_of
    from bench.records.store import read_records
    from bench.specs.budget import BudgetOverride
    from bench.specs.track import load_track

    asked, override = load_track(track), BudgetOverride.parse(budget) if budget is not None else None
    if override is not None and override.amount is not None:
        asked = asked.scaled(override.amount, override.unit)
    found = best_of(read_records(store)[0], asked, target)
    print(json_text(found.as_json()) if as_json else "\n".join(found.lines()))
