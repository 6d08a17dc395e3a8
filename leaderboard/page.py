"""The leaderboard as one static folder that opens from disk, from records alone.

An overview, the claims, and a page a track, a method and a run. Everything a page loads lies beside it, plotly's
script included (once). Text from records and plugins is escaped by jinja2, inside plots by `bench.leaderboard.plot`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bench.claims import claim_names, load_claim
from bench.leaderboard.blocks import Block, Fold, Link, Plot, ReportPlan, TableRow
from bench.leaderboard.folder import GENERATOR, PageFolder
from bench.leaderboard.installed import installed_methods
from bench.leaderboard.links import CLAIMS, INDEX, method_page, run_page, track_page
from bench.leaderboard.method_plan import method_plan, method_row
from bench.leaderboard.plan import overview_plan, track_plan, verdict_table
from bench.leaderboard.plot import in_script
from bench.leaderboard.run_page import run_context
from bench.leaderboard.summary import summarise
from bench.leaderboard.verdict_cells import COLUMNS
from bench.leaderboard.verdicts import Verdict, verdicts
from bench.record import Record
from bench.store import Unreadable

__all__ = ["write_leaderboard"]

_STATIC = ("style.css", "plots.js", "page.js")
_HOME = Link("Leaderboard", INDEX)


def write_leaderboard(records: Iterable[Record], unreadable: Iterable[Unreadable], out: Path) -> Path:
    """Writes the leaderboard and removes pages of tracks, methods and runs that are gone; other files in `out` stay.

    Args:
        records: all that is to be shown; a record that is there twice counts once.
        unreadable: files that could not be read as records, listed with the reason.
        out: the folder, made if need be.

    Returns:
        The path of `index.html`.

    Raises:
        StoreError: `out` cannot be written.
    """
    by_id = {record.run_id: record for record in records}
    claims = [load_claim(name) for name in claim_names()]
    claimed = {claim.track.name for claim in claims}
    found = verdicts(claims, list(by_id.values()))
    board = summarise((record for record in by_id.values() if record.track not in claimed), unreadable)
    by_method: dict[str, list[Record]] = defaultdict(list)
    for record in by_id.values():
        by_method[record.method].append(record)
    installed = installed_methods()
    methods = [*installed, *sorted(set(by_method) - set(installed))]
    tracks = {track.name for track in board.tracks}

    folder, pages = PageFolder(out), _Pages()
    for name in _STATIC:
        folder.write(name, _template_text(name))
    if by_id:
        from plotly.offline import get_plotlyjs

        folder.write("plotly.min.js", get_plotlyjs())
    for record in by_id.values():
        folder.write(run_page(record.run_id), pages.run(record, tracks))
    for name in methods:
        plan = method_plan(name, installed.get(name), by_method[name], board, found)
        folder.write(method_page(name), pages.report(plan))
    for track in board.tracks:
        folder.write(track_page(track.name), pages.report(track_plan(track, found, by_id)))
    folder.write(CLAIMS, pages.claims(found, tracks))
    rows = [method_row(name, installed.get(name), by_method[name]) for name in methods]
    index = folder.write_last(INDEX, pages.overview(overview_plan(board, found, rows)))
    folder.remove_others(("track", "method", "run"))
    return index


class _Pages:
    """The templates, each compiled once."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(_template),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {"groups": _groups, "ticks": _ticks}
        self._environment.globals |= {
            "generator": GENERATOR,
            "version": version("bench"),
            "crumbs": [_HOME],
            "in_script": lambda value: Markup(in_script(value)),
            "method_page": method_page,
            "run_page": run_page,
            "track_page": track_page,
        }
        self._run = self._environment.get_template("run.html")

    def overview(self, plan: ReportPlan) -> str:
        """The index."""
        return self.report(plan, here="Leaderboard", crumbs=[], home=True)

    def report(self, plan: ReportPlan, **words: Any) -> str:
        """The page of any plan."""
        sections = [{"id": each.anchor, "heading": each.heading, "blocks": each.blocks} for each in plan.sections]
        every = (*plan.intro, *(block for section in plan.sections for block in section.blocks))
        fields = {"plan": plan, "sections": sections, "here": plan.title, "plots": _has_plot(every), "home": False}
        return self._environment.get_template("report.html").render(fields | words)

    def claims(self, found: Sequence[Verdict], tracks: set[str]) -> str:
        """All claims, verdict by verdict."""
        by_claim: dict[str, list[Verdict]] = defaultdict(list)
        for verdict in found:
            by_claim[verdict.claim.name].append(verdict)
        words = {
            "claims": list(by_claim.values()),
            "tables": {name: verdict_table(each, linked=False) for name, each in by_claim.items()},
            "verdict_columns": COLUMNS,
            "tracks": tracks,
            "here": "Claims",
        }
        return self._environment.get_template("claims.html").render(words)

    def run(self, record: Record, tracks: set[str]) -> str:
        """The page of a run."""
        return self._run.render(run_context(record, tracks))


def _has_plot(blocks: Iterable[Block]) -> bool:
    return any(isinstance(each, Plot) or (isinstance(each, Fold) and _has_plot(each.blocks)) for each in blocks)


def _groups(rows: Sequence[TableRow]) -> list[tuple[str, list[TableRow]]]:
    """Rows that follow each other under one heading."""
    found: list[tuple[str, list[TableRow]]] = []
    for row in rows:
        if not found or found[-1][0] != row.group:
            found.append((row.group, []))
        found[-1][1].append(row)
    return found


def _ticks(text: str) -> Markup:
    """Escaped text with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


def _template(name: str) -> str | None:
    return _template_text(name) if (files("bench.leaderboard") / "templates" / name).is_file() else None


def _template_text(name: str) -> str:
    return (files("bench.leaderboard") / "templates" / name).read_text(encoding="utf-8")
