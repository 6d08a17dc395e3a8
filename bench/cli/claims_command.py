"""`bench claims`: what papers claim, held against what was measured."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import DEFAULT_STORE, StoreOption
from bench.records.text import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.leaderboard.verdicts.verdicts import ClaimVerdict

__all__ = ["claims"]


def claims(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CLAIM]...", help="Claims; default: all.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Compare what papers claim with what was measured, from the store and the committed results."""
    from bench.cli.shown_records import all_briefs
    from bench.leaderboard.verdicts.verdicts import as_json as values
    from bench.leaderboard.verdicts.verdicts import verdicts
    from bench.specs.claim import claim_names, load_claim

    asked = [load_claim(name) for name in names or claim_names()]
    found = verdicts(asked, all_briefs(store, {claim.track.name for claim in asked})[0])
    if as_json:
        print(json_text([values(verdict) for verdict in found]))
    else:
        _print(found)


def _print(found: "Sequence[ClaimVerdict]") -> None:
    """Verdicts as a table; below it why they are what they are and, for what was not run, the command."""
    from bench.leaderboard.pages.verdict_columns import verdict_table
    from bench.records.console import make_console

    console = make_console() if sys.stdout.isatty() else make_console(width=220)
    console.print(verdict_table(found))
    for verdict in found:
        name = f"{verdict.claim.name}, {verdict.number.measure} at {verdict.number.target}"
        line = f"{name}: {verdict.word}: {verdict.why}"
        if verdict.word == "not run":
            hours = "" if verdict.hours is None else f" (about {verdict.hours:.2g} device-hours; {verdict.hours_basis})"
            line += f". Run it: {verdict.command}{hours}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
