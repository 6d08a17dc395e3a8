"""`bench report`: the leaderboard as a W&B report."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, EntityOption, ProjectOption, StoreOption

__all__ = ["report"]


def report(
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("page"),
    store: StoreOption = DEFAULT_STORE,
    project: ProjectOption = None,
    entity: EntityOption = None,
) -> None:
    """Make the leaderboard a W&B report, or update the one made before; without an account, the page alone."""
    from bench.cli.shown_records import all_evidence, all_records
    from bench.leaderboard.wandb_report.report import make_report
    from bench.tracking.mode import project_name

    where = project_name(project, os.environ)
    reported = make_report(*all_records(store), out, where, entity, evidence=all_evidence(store))
    print(reported.words())
    raise typer.Exit(int(reported.done == "failed"))
