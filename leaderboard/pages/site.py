"""The leaderboard as one static folder that opens from disk, from records alone.

An overview, the claims, and a page a track, a method and a run. Everything a page loads lies beside it, plotly's
script included (once). Text from records and plugins is escaped by jinja2, inside plots by
`bench.leaderboard.pages.plots`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bench.leaderboard.board.board import TrackSummary
from bench.leaderboard.pages.blocks import Block, Fold, Link, Plot, ReportPlan
from bench.leaderboard.pages.collect import Material, gather
from bench.leaderboard.pages.folder import GENERATOR, PageFolder
from bench.leaderboard.pages.html import table
from bench.leaderboard.pages.links import CLAIMS, INDEX, method_page, run_page, track_page
from bench.leaderboard.pages.method_page import method_plan
from bench.leaderboard.pages.plots import in_script
from bench.leaderboard.pages.run_page import run_context
from bench.leaderboard.pages.track_page import overview_plan, track_plan, verdict_table
from bench.leaderboard.pages.verdict_columns import COLUMNS
from bench.leaderboard.verdicts.verdicts import WORDS, ClaimVerdict
from bench.records.evidence import Evidence
from bench.records.record import Record, rewards_of
from bench.records.store import Unreadable
from bench.specs.claim import claim_names, load_claim

__all__ = ["RunPages", "draw_all", "write_leaderboard", "write_tracks"]

_STATIC = ("style.css", "plots.js", "page.js")
_HOME = Link("Leaderboard", INDEX)


def write_leaderboard(
    records: Iterable[Record],
    unreadable: Iterable[Unreadable],
    out: Path,
    evidence: Mapping[str, Evidence] | None = None,
    rewards: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Writes the leaderboard and removes pages of tracks, methods and runs that are gone; other files in `out` stay.

    Args:
        records: all that is to be shown; of records with the same id the last one counts. They are taken one by one
            and kept without their curves, so that a generator needs little memory.
        unreadable: files that could not be read as records, listed with the reason; asked for after the records.
        out: the folder, made if need be.
        evidence: by run id, what lies beside a record; None: nothing is known of that.
        rewards: by run id, what searches were rewarded with; given where the records are without their curves, and the
            pages of the runs are there already: they stay.

    Returns:
        The path of `index.html`.

    Raises:
        StoreError: `out` cannot be written.
    """
    return draw_all(records, unreadable, out, evidence, rewards)[0]


def draw_all(
    records: Iterable[Record],
    unreadable: Iterable[Unreadable],
    out: Path,
    evidence: Mapping[str, Evidence] | None = None,
    rewards: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Path, Material]:
    """`write_leaderboard`, and what the pages were drawn from."""
    claims = [load_claim(name) for name in claim_names()]
    claimed = {claim.track.name for claim in claims if claim.own_runs}
    folder, pages = PageFolder(out), _Pages()
    by_id: dict[str, Record] = {}
    searched: dict[str, Sequence[float]] = {}
    for record in records:
        if rewards is None:
            folder.write(run_page(record.run_id), pages.run(record, has_track_page=record.track not in claimed))
            by_id[record.run_id] = record.model_copy(update={"curve": ()})
            searched[record.run_id] = rewards_of(record)
        else:
            folder.keep(run_page(record.run_id))
            by_id[record.run_id], searched[record.run_id] = record, rewards.get(record.run_id, ())
    material = gather(claims, by_id, unreadable, evidence, searched)
    board, found = material.board, material.verdicts
    tracks = {track.name for track in board.tracks}

    for name in _STATIC:
        folder.write(name, _template_text(name))
    if by_id:
        from plotly.offline import get_plotlyjs

        folder.write("plotly.min.js", get_plotlyjs())
    for each in material.methods:
        plan = method_plan(each.name, each.installed, each.records, board, found)
        folder.write(method_page(each.name), pages.report(plan))
    for track in board.tracks:
        folder.write(track_page(track.name), pages.report(track_plan(track, found, by_id, material.rewards)))
    folder.write(CLAIMS, pages.claims(found, tracks))
    overview = overview_plan(board, found, [each.row for each in material.methods])
    index = folder.write_last(INDEX, pages.overview(overview))
    folder.remove_others(("track", "method", "run"))
    return index, material


def write_tracks(
    tracks: Iterable[TrackSummary],
    verdicts: Sequence[ClaimVerdict],
    records: Mapping[str, Record],
    rewards: Mapping[str, Sequence[float]],
    out: Path,
) -> Path:
    """Writes the pages of some tracks alone; the overview and the other pages stay as `write_leaderboard` left them.

    Args:
        tracks: what is drawn.
        verdicts: of the claims on these tracks.
        records: by run id; they may be without their curves.
        rewards: by run id, what searches were rewarded with.
        out: the folder.

    Returns:
        The path of the last page, or of the overview where there is none.

    Raises:
        StoreError: `out` cannot be written.
    """
    folder, pages, last = PageFolder(out), _Pages(), out / INDEX
    for name in _STATIC:
        folder.write(name, _template_text(name))
    if not (out / "plotly.min.js").is_file():
        from plotly.offline import get_plotlyjs

        folder.write("plotly.min.js", get_plotlyjs())
    for track in tracks:
        folder.write(track_page(track.name), pages.report(track_plan(track, verdicts, records, rewards)))
        last = out / track_page(track.name)
    return last


class RunPages:
    """The templates, each compiled once, and the pages of runs."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(_template),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["ticks"] = _ticks
        self._environment.globals |= {
            "generator": GENERATOR,
            "version": version("bench"),
            "crumbs": [_HOME],
            "in_script": lambda value: Markup(in_script(value)),
            "method_page": method_page,
            "run_page": run_page,
            "table": table,
            "track_page": track_page,
        }
        self._run = self._environment.get_template("run.html")

    def run(self, record: Record, has_track_page: bool) -> str:
        """The page of a run; the tracks of claims have no page."""
        return self._run.render(run_context(record, has_track_page))


class _Pages(RunPages):
    """All other pages."""

    def overview(self, plan: ReportPlan) -> str:
        """The index."""
        return self.report(plan, here="Leaderboard", crumbs=[], home=True)

    def report(self, plan: ReportPlan, **words: Any) -> str:
        """The page of any plan."""
        sections = [{"id": each.anchor, "heading": each.heading, "blocks": each.blocks} for each in plan.sections]
        every = (*plan.intro, *(block for section in plan.sections for block in section.blocks))
        fields = {"plan": plan, "sections": sections, "here": plan.title, "plots": _has_plot(every), "home": False}
        return self._environment.get_template("report.html").render(fields | words)

    def claims(self, found: Sequence[ClaimVerdict], tracks: set[str]) -> str:
        """All claims, verdict by verdict."""
        by_claim: dict[str, list[ClaimVerdict]] = defaultdict(list)
        for verdict in found:
            by_claim[verdict.claim.name].append(verdict)
        words = {
            # what is settled first
            "claims": sorted(by_claim.values(), key=lambda each: min(WORDS.index(verdict.word) for verdict in each)),
            "settled": verdict_table([verdict for verdict in found if verdict.word in ("reproduced", "refuted")]),
            "open": sum(verdict.word == "inconclusive" for verdict in found),
            "not_run": sum(verdict.word == "not run" for verdict in found),
            "tables": {name: verdict_table(each, linked=False) for name, each in by_claim.items()},
            "verdict_columns": COLUMNS,
            "tracks": tracks,
            "here": "Claims",
        }
        return self._environment.get_template("claims.html").render(words)


def _has_plot(blocks: Iterable[Block]) -> bool:
    return any(isinstance(each, Plot) or (isinstance(each, Fold) and _has_plot(each.blocks)) for each in blocks)


def _ticks(text: str) -> Markup:
    """Escaped text with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


def _template(name: str) -> str | None:
    return _template_text(name) if (files("bench.leaderboard.pages") / "templates" / name).is_file() else None


def _template_text(name: str) -> str:
    return (files("bench.leaderboard.pages") / "templates" / name).read_text(encoding="utf-8")
