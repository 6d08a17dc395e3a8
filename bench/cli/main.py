"""The command line: its commands, each a module of its own, and what becomes of their errors.

Torch, wandb and plotly are imported inside the commands, so that `bench --help` answers at once.
"""

import sys
from typing import Any

import typer

from bench.cli.best_command import best
from bench.cli.check_command import check
from bench.cli.claims_command import claims
from bench.cli.compare_command import compare
from bench.cli.doctor_command import doctor
from bench.cli.export_command import export
from bench.cli.gate_command import gate
from bench.cli.groups_command import groups
from bench.cli.leaderboard_command import leaderboard
from bench.cli.list_command import list_
from bench.cli.measure_command import measure
from bench.cli.new_command import new_method
from bench.cli.new_track_command import new_track
from bench.cli.report_command import report
from bench.cli.run_command import plan, run
from bench.cli.show_command import show
from bench.cli.sync_command import sync
from bench.cli.table_command import table
from bench.cli.verify_command import verify
from bench.errors import BenchError
from bench.records.text import plain

app = typer.Typer(
    help="A reproducible benchmark suite for neural-network pruning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
new = typer.Typer(help="Write the files that a plugin, or a track of your own, begins with.", no_args_is_help=True)
app.add_typer(new, name="new")

_COMMANDS = (
    run,
    plan,
    list_,
    groups,
    show,
    leaderboard,
    report,
    sync,
    claims,
    verify,
    measure,
    check,
    compare,
    gate,
    doctor,
    best,
    export,
    table,
)
for _command in _COMMANDS:
    app.command(_command.__name__.strip("_"))(_command)
new.command("method")(new_method)
new.command("track")(new_track)


@app.callback()
def _output(context: typer.Context) -> None:
    """A reproducible benchmark suite for neural-network pruning."""
    from bench.records.console import safe_output

    context.with_resource(safe_output())  # until the command ends: what typer says of its options comes after it


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of the `bench` command. Exit codes: 0 all ok, 1 a run failed, 2 wrong usage."""
    try:
        app(arguments, standalone_mode=True)
    except BenchError as error:
        print(f"bench: {plain(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bench: interrupted. The same command goes on with what is not done.", file=sys.stderr)
        sys.exit(130)
