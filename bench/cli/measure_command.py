"""`bench measure`: stored networks timed again."""

from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from bench.records.text import json_text

__all__ = ["measure"]


def measure(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs whose networks are stored.")],
    store: StoreOption = DEFAULT_STORE,
    batch: Annotated[list[int] | None, typer.Option(help="Images at once.", show_default="1 and 64")] = None,
    seconds: Annotated[float, typer.Option(help="For each network, runtime and batch size.", min=0.01)] = 2.0,
    threads: Annotated[int, typer.Option(help="Of PyTorch and onnxruntime.", min=1)] = 1,
    quiet: Annotated[
        float | None,
        typer.Option("--quiet", help="Wait up to so many seconds for a quiet machine, and give up if it stays busy."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time stored networks again, in turns with their dense network, in PyTorch and, where installed, onnxruntime."""
    from bench.cli.times import as_values, print_times
    from bench.own.export.load import stored
    from bench.own.export.timing import time_in_turns, wait_for_quiet

    if quiet is not None:
        wait_for_quiet(quiet)
    found = time_in_turns([stored(run, store) for run in dict.fromkeys(runs)], batch or [1, 64], seconds, threads)
    if as_json:
        print(json_text(as_values(found)))
    else:
        print_times(found)
