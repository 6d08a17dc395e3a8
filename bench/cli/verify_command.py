"""`bench verify`: a record's run made again."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, DataOption, StoreOption
from bench.data.folder import data_folder

__all__ = ["verify"]


def verify(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Run id or its beginning, or the path of a record.")],
    measure_only: Annotated[
        bool, typer.Option("--measure-only", help="Only load the stored network and measure it.")
    ] = False,
    note: Annotated[
        bool, typer.Option("--note", help="Write beside the record that it was verified, for the leaderboard's badge.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    data: DataOption = None,
) -> None:
    """Run a record's spec again and compare: bitwise on the same kind of CPU, within a stated tolerance elsewhere."""
    from bench.checks.record.rerun import measure_again, run_again
    from bench.records.lookup import find_record

    record, folder = find_record(name, store)
    if measure_only:
        verdict = measure_again(record, folder / "network.safetensors", data_folder(data))
    else:
        verdict = run_again(record, data_folder(data), _progress(record.run_id))
    print(f"{record.run_id}: {verdict.words()}")
    if note:
        from bench.checks.record.note import write_note

        print(write_note(record, folder, verdict, measure_only))
    raise typer.Exit(0 if verdict.equal else 1)


def _progress(label: str) -> Callable[[str, float], None]:
    """Says each phase once, on standard error."""
    said: list[str] = []

    def report(phase: str, _share: float) -> None:
        if phase not in said:
            said.append(phase)
            print(f"{label}: {phase}", file=sys.stderr, flush=True)

    return report
