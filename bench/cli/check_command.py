"""`bench check`: a method against the contract, or records against what they say."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import names_in
from bench.data.folder import data_folder
from bench.errors import UsageError

__all__ = ["check"]


def check(
    method: Annotated[str, typer.Argument(help="Method, several with commas, or all.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="With --results: records, or folders of them.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Of most checks.  [default: lenet5, or a small one that the method can run on]")
    ] = None,
    results: Annotated[
        bool,
        typer.Option(
            "--results",
            help="Recompute every derived number of finished records from manifest and network; report what differs.",
        ),
    ] = False,
    data: Annotated[Path | None, typer.Option(help="With --results: data folder, to measure accuracy again.")] = None,
) -> None:
    """Check a method against the contract, or records of it: do the numbers follow from manifest and network?"""
    if results != bool(files):
        raise UsageError("records are checked by: bench check METHOD --results FILE...")
    if results:
        from bench.checks.record.audit import check_results

        folder = data_folder(data)
        raise typer.Exit(check_results(method, files or [], folder if folder.is_dir() else None))
    from bench.checks.method.kit import check_methods

    raise typer.Exit(check_methods(names_in([method]), tuple(set_ or ()), network))
