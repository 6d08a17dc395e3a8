"""`bench report`: the leaderboard as a W&B report, from the plan that the pages are drawn from.

The page is written in any case. The report carries a mark in its description; the next one with that mark is changed
instead of adding another.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from bench.leaderboard.pages.collect import Material
from bench.leaderboard.pages.site import draw_all
from bench.leaderboard.pages.track_page import overview_plan, track_plan
from bench.records.evidence import Evidence
from bench.records.record import Record
from bench.records.store import Unreadable
from bench.tracking.mode import choose_mode

__all__ = ["MARK", "Reported", "build_report", "make_report"]

MARK = "[bench report]"
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Reported:
    """What came of it.

    Attributes:
        page: the local page.
        done: the report was made, changed, or not made since there is no account, or since something failed.
        url: of the report; empty where there is none.
        why: the reason, where there is none.
    """

    page: Path
    done: Literal["made", "updated", "no account", "failed"]
    url: str = ""
    why: str = ""

    def words(self) -> str:
        """For people."""
        if self.url:
            return f"W&B report {self.done}: {self.url}\npage: {self.page}"
        return f"no W&B report: {self.why}\nThe same is on the page: {self.page}"


def make_report(
    records: Iterable[Record],
    unreadable: Iterable[Unreadable],
    out: Path,
    project: str,
    entity: str | None = None,
    environment: Mapping[str, str] = os.environ,
    evidence: Mapping[str, Evidence] | None = None,
) -> Reported:
    """Writes the page, then makes the report or changes the one that is there. Never raises for what W&B does.

    Args:
        records, unreadable, out: as of `write_leaderboard`.
        project: the W&B project, where the runs are too.
        entity: whose project it is; None for the account's default.
        environment: the environment variables.
        evidence: as of `write_leaderboard`.

    Raises:
        StoreError: `out` cannot be written.
        UsageError: `WANDB_MODE` is no mode.
    """
    mode = choose_mode("auto", environment)
    page, material = draw_all(records, unreadable, out, evidence)
    if mode != "online":
        why = "WANDB_MODE is off" if mode == "off" else "there is no W&B key, or W&B is set to offline"
        return Reported(page, "no account", why=f"{why}. `wandb login`, or set WANDB_API_KEY, then `bench report`.")
    try:
        import wandb_workspaces.reports.v2  # noqa: F401
    except ImportError:
        return Reported(page, "failed", why="wandb-workspaces is not installed. `pip install wandb-workspaces`.")
    try:
        import wandb

        api = wandb.Api(timeout=TIMEOUT_SECONDS)
        owner = entity or str(api.default_entity or "")
        report = build_report(material, project, owner)
        report.id = _earlier(api, owner, project)
        changed = bool(report.id)
        report.save()
        return Reported(page, "updated" if changed else "made", str(report.url))
    except Exception as error:  # whatever W&B does, the page is there
        reason = " ".join(str(error).split())[:300].rstrip(".")
        return Reported(page, "failed", why=f"{type(error).__name__}: {reason}. Try `bench report` again later.")


def build_report(material: Material, project: str, entity: str) -> Any:
    """The report as an object of wandb-workspaces; nothing is sent.

    Args:
        material: all that is to be shown, as the pages show it.
        project, entity: where it will be.
    """
    import wandb_workspaces.reports.v2 as wr

    from bench.leaderboard.wandb_report.wandb_blocks import blocks_of, track_blocks

    overview = overview_plan(material.board, material.verdicts, [each.row for each in material.methods])
    blocks = [wr.TableOfContents(), *blocks_of(overview, top=True)]
    for track in material.board.tracks:
        blocks += track_blocks(track, track_plan(track, material.verdicts, material.records, material.rewards))
    made = (
        f"Made by bench {version('bench')} from {len(material.records)} records. `bench report` writes it anew. {MARK}"
    )
    return wr.Report(
        project=project, entity=entity, title=overview.title, description=made, blocks=blocks, width="fluid"
    )


def _earlier(api: Any, entity: str, project: str) -> str:
    """The id of the report that was made before; empty where there is none."""
    try:
        for report in api.reports(f"{entity}/{project}"):
            if MARK in (report.description or ""):
                return str(report.id)
    except ValueError as error:  # wandb's way to say that there is no such project yet
        if "does not exist" not in str(error):
            raise
    return ""
