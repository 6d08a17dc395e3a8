"""`bench claims`: the verdicts as a table."""

import sys
from collections.abc import Sequence

from bench.leaderboard.verdicts.verdicts import ClaimVerdict
from bench.records.console import make_console

__all__ = ["print_verdicts"]


def print_verdicts(found: Sequence[ClaimVerdict]) -> None:
    """Verdicts as a table; below it why they are what they are and, for what was not run, the command."""
    from bench.leaderboard.pages.verdict_columns import verdict_table

    console = make_console() if sys.stdout.isatty() else make_console(width=220)
    console.print(verdict_table(found))
    for verdict in found:
        name = f"{verdict.claim.name}, {verdict.number.measure} at {verdict.number.target}"
        line = f"{name}: {verdict.word}: {verdict.why}"
        if verdict.word == "not run":
            hours = "" if verdict.hours is None else f" (about {verdict.hours:.2g} device-hours; {verdict.hours_basis})"
            line += f". Run it: {verdict.command}{hours}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
