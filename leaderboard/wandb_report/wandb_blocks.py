"""The plan's blocks as blocks of a W&B report (wandb-workspaces).

W&B draws no plotly JSON: a plot becomes panels over the project's own runs, filtered to what the table compares. The
numbers in the tables are the plan's. Text is escaped, so that what a record or a plugin says is shown as it is.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from bench.leaderboard.board.board import Table, TrackSummary
from bench.leaderboard.pages.blocks import Block, Code, Doc, Facts, Fold, Plot, ReportPlan, TableBlock, Text
from bench.leaderboard.pages.track_page import section_anchor

__all__ = ["blocks_of", "track_blocks"]

MOST_ROWS = 500
"""Of a table; a page shows them all, a report would not open any more."""

_SAFE = re.compile(r"[A-Za-z0-9 ._:+-]+")  # in W&B's filter language, a text has no way to escape what is special
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$])")
_PHASES = ("dense", "search", "prune", "finetune")


def blocks_of(plan: ReportPlan, top: bool = False) -> list[Any]:
    """A plan as blocks.

    Args:
        plan: what to say.
        top: it is the report's own: its title is not said again.
    """
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [] if top else [wr.H1(plan.title)]
    blocks += _blocks(plan.intro, None, None)
    for section in plan.sections:
        blocks += [wr.H2(section.heading), *_blocks(section.blocks, None, None)]
    return blocks


def track_blocks(track: TrackSummary, plan: ReportPlan) -> list[Any]:
    """The plan of a track, with panels over the runs of each of its tables."""
    import wandb_workspaces.reports.v2 as wr

    tables = {section_anchor(number): table for number, table in enumerate(track.tables, start=1)}
    blocks: list[Any] = [wr.H1(plan.title), *_blocks(plan.intro, None, None)]
    for section in plan.sections:
        blocks += [wr.H2(section.heading), *_blocks(section.blocks, track, tables.get(section.anchor))]
    return blocks


def _blocks(blocks: Iterable[Block], track: TrackSummary | None, table: Table | None) -> list[Any]:
    return [made for block in blocks for made in _block(block, track, table)]


def _block(block: Block, track: TrackSummary | None, table: Table | None) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    match block:
        case Text():
            return [wr.CalloutBlock(block.text) if block.note or block.lead else wr.P(block.text)]
        case Doc():
            return [wr.P(" ".join(paragraph.split())) for paragraph in block.text.split("\n\n")]
        case Code():
            return [wr.CodeBlock(block.text, language=None)]
        case Facts():
            return [wr.UnorderedList([f"{item[0]}: {item[1]}" for item in block.items])] if block.items else []
        case TableBlock():
            return [wr.MarkdownBlock(_markdown(block))]
        case Fold():
            return [wr.H3(block.title, collapsed_blocks=_blocks(block.blocks, track, table))]
        case Plot():
            if track is None or table is None:
                return []
            caption = f"{block.caption} Drawn by W&B from the runs of this project."
            return [wr.P(caption), _panels(block, track, table)]
    raise TypeError(f"no W&B block for {type(block).__name__}")


def _markdown(table: TableBlock) -> str:
    """A table in Markdown; the group that rows stand under is a column already."""
    heads = [_cell(column.title) for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    rows: list[Sequence[str]] = [heads, rule]
    for row in table.rows[:MOST_ROWS]:
        rows.append([_cell(" ".join(filter(None, (each.text, each.mark, each.detail)))) for each in row.cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if len(table.rows) > MOST_ROWS:
        lines += ["", f"{len(table.rows) - MOST_ROWS} more rows are on the page that `bench leaderboard` writes."]
    return "\n".join((f"**{_cell(table.caption)}**", "", *lines))


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def _panels(plot: Plot, track: TrackSummary, table: Table) -> Any:
    """Panels over the runs that a table compares; their names are those of `bench.tracking.tracker`."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as wr

    wanted = {
        "track": track.name,
        "kind": table.kind,
        "budget_unit": table.budget_unit,
        "device_class": table.device_class,
    }
    compared = [expr.Config(name) == value for name, value in wanted.items() if _SAFE.fullmatch(value)]
    runs = wr.Runset(name=track.name, filters=expr.And(*compared), groupby=["config.method", "config.target"])
    macs = "macs_nonzero" if table.kind == "unstructured" else "macs"
    by_method = wr.Config("method")
    panels: dict[str, list[Any]] = {
        "accuracy": [
            wr.ScatterPlot(
                title="test top-1 over MACs",
                x=wr.SummaryMetric(macs),
                y=wr.SummaryMetric("pruned_top1_test"),
                log_x=True,
                layout=wr.Layout(0, 0, 12, 8),
            ),
            wr.LinePlot(
                title="validation top-1 by epoch",
                x="epoch",
                y=[f"{phase}/top1_val" for phase in ("dense", "prune", "finetune")],
                groupby=by_method,
                groupby_aggfunc="mean",
                layout=wr.Layout(12, 0, 12, 8),
            ),
        ],
        "speed": [
            wr.ScatterPlot(
                title="latency at batch 1 (ms) over the share of MACs kept",
                x=wr.SummaryMetric("ratio_macs"),
                y=wr.SummaryMetric("latency_ms_b1"),
                layout=wr.Layout(0, 0, 24, 8),
            )
        ],
        "rewards": [
            wr.LinePlot(
                title="rewards of the searches",
                x="Step",
                y=["search/reward", "search/best"],
                groupby=by_method,
                groupby_aggfunc="mean",
                layout=wr.Layout(0, 0, 24, 8),
            )
        ],
        "seconds": [_bars("device seconds by phase", [f"phase/{phase}/device_seconds" for phase in _PHASES])],
        "epochs": [_bars("MACs spent by phase", [f"phase/{phase}/spent_macs" for phase in _PHASES])],
    }
    return wr.PanelGrid(runsets=[runs], panels=panels.get(plot.shows, []), hide_run_sets=True)


def _bars(title: str, metrics: list[str]) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.BarPlot(
        title=title,
        metrics=metrics,
        groupby=wr.Config("method"),
        groupby_aggfunc="mean",
        layout=wr.Layout(0, 0, 24, 8),
    )
