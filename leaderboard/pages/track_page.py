"""The plan of a report: which blocks say what, made from a board. The pages and the W&B report both draw it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from bench.leaderboard.board.board import Board, Table, TrackSummary
from bench.leaderboard.pages import plots as plot
from bench.leaderboard.pages.accuracy_plots import over_budget
from bench.leaderboard.pages.blocks import (
    Block,
    Cell,
    Code,
    ColumnHead,
    Facts,
    Link,
    Plot,
    ReportPlan,
    Section,
    TableBlock,
    TableRow,
    Text,
)
from bench.leaderboard.pages.columns import heading
from bench.leaderboard.pages.links import CLAIMS, claim_href, method_page, run_page, track_page
from bench.leaderboard.pages.sentences import leads
from bench.leaderboard.pages.table_blocks import table_blocks, text_cell
from bench.leaderboard.pages.verdict_columns import COLUMNS
from bench.leaderboard.verdicts.verdicts import WORDS, ClaimVerdict
from bench.records.record import Record

__all__ = ["overview_plan", "section_anchor", "track_plan", "verdict_table"]


def section_anchor(number: int) -> str:
    """The anchor of a track's table of that number, from 1."""
    return f"table-{number}"


def track_plan(
    track: TrackSummary,
    verdicts: Sequence[ClaimVerdict] = (),
    records: Mapping[str, Record] | None = None,
    rewards: Mapping[str, Sequence[float]] | None = None,
) -> ReportPlan:
    """The report of one track.

    Args:
        track: what is compared.
        verdicts: of all claims; those on the track's network and data are shown.
        records: by run id; without them cost by phase and widths by layer are left out.
        rewards: of searches, by run id; None: as the records' curves have it.
    """
    left_out = len(track.left_out)
    intro: list[Block] = [
        Text(f"{f'{heading(table)}: ' if len(track.tables) > 1 and i == 0 else ''}{sentence}", lead=True)
        for table, lead in zip(track.tables, leads(track), strict=True)
        for i, sentence in enumerate(lead.sentences)
    ]
    intro += [Text(track.text)] if track.text else []
    facts = (*track.facts.items(), ("runs", str(track.runs)), ("left out", str(left_out)))
    intro.append(Facts(tuple(facts)))
    if not track.ranked:
        why = "This track is too small to rank methods: it is there for smoke and regression tests."
        intro.append(Text(why, note=True))
    if not track.tables:
        intro.append(Text("No run of this track can be shown yet."))
    colour = plot.colours(track.methods)
    sections = [
        Section(heading(table), section_anchor(number), table_blocks(track, table, colour, records or {}, rewards))
        for number, table in enumerate(track.tables, start=1)
    ]
    sections += _over_budget(track, colour)
    own = [verdict for verdict in verdicts if verdict.claim.base == track.name]
    if own:
        text = Text(
            "On schedules of their own, not on this track's budget.", links=(Link("Sources and commands", CLAIMS),)
        )
        sections.append(Section("What papers claim of this network and data set", "claims", (text, verdict_table(own))))
    if track.left_out:
        sections.append(Section("Left out", "left-out", (Text("Runs that no row counts."), _left_out_table(track))))
    return ReportPlan(track.name, tuple(intro), tuple(sections))


def _over_budget(track: TrackSummary, colour: Mapping[str, str]) -> list[Section]:
    """Accuracy over budget, where rows of a kind were run at several."""
    by_kind: dict[tuple[str, str, str], list[Table]] = defaultdict(list)
    for table in track.tables:
        by_kind[table.kind, table.budget_unit, table.device_class].append(table)
    plots = [
        Plot(f"{kind.capitalize()}, {device}: test accuracy over the budget, 95 % intervals over seeds.", figure)
        for (kind, _, device), tables in by_kind.items()
        if (figure := over_budget(tables, colour)) is not None
    ]
    return [Section("Accuracy over budget", "over-budget", tuple(plots))] if plots else []


def overview_plan(board: Board, verdicts: Sequence[ClaimVerdict] = (), methods: Sequence[TableRow] = ()) -> ReportPlan:
    """The report of all tracks.

    Args:
        board: all tracks.
        verdicts: of all claims.
        methods: rows of the table of methods; none: it is left out.
    """
    sections = []
    if board.tracks:
        intro: tuple[Block, ...] = (
            Text(
                "Methods on identical compute budgets, from the same trained networks. Every number is made from the "
                "records of runs."
            ),
        )
        sections.append(Section("What is known", "findings", (_finding_table(board),)))
        sections.append(Section("Tracks", "tracks", (_track_table(board),)))
    else:
        intro = (
            Text("There are no records yet. Make some, then write this page again:"),
            Code("bench run\nbench leaderboard"),
        )
    if methods:
        table = TableBlock("methods", METHOD_COLUMNS, tuple(methods), filters=("method", "kind"))
        sections.append(Section("Methods", "methods", (table,)))
    counts = Counter(verdict.word for verdict in verdicts)
    words = ", ".join(f"{counts[word]} {word}" for word in WORDS)
    asked = sum(verdict.by_construction for verdict in verdicts if verdict.word == "reproduced")
    if asked:
        words += f"; of the reproduced, {asked} are the accuracy at a size that was asked for, and no number"
    links = (Link("What the papers say beside what was measured", CLAIMS),)
    sections.append(Section("Claims of the papers", "claims", (Text(f"Numbers: {words}.", links=links),)))
    if board.unreadable:
        rows = tuple(TableRow((Cell(name), Cell(reason))) for name, reason in board.unreadable)
        table = TableBlock("files that could not be read", (ColumnHead("file", code=True), ColumnHead("reason")), rows)
        sections.append(Section("Files that could not be read", "unreadable", (table,)))
    return ReportPlan("Pruning leaderboard", intro, tuple(sections))


METHOD_COLUMNS = (
    ColumnHead("method"),
    ColumnHead("kind", "structured: whole channels go; unstructured: single weights become zero"),
    ColumnHead("role", "a control is there so that the others can be judged"),
    ColumnHead("runs", "all runs, those of claims and those left out included", numeric=True),
    ColumnHead("reference"),
)
"""Columns of the overview's table of methods."""


def verdict_table(verdicts: Sequence[ClaimVerdict], linked: bool = True) -> TableBlock:
    """Claimed and measured.

    Args:
        verdicts: a row each.
        linked: each row names its claim and links to it.
    """
    verdict_column, number, *others = COLUMNS
    heads = (
        ColumnHead(verdict_column.title, verdict_column.meaning),
        ColumnHead("claim" if linked else number.title, number.meaning),
        *(ColumnHead(column.title, column.meaning, numeric=column.number) for column in others),
    )
    rows = [
        TableRow(
            (
                Cell(
                    verdict_column.cell(verdict),
                    mark="accuracy only" if verdict.by_construction and verdict.word == "reproduced" else "",
                ),
                Cell(verdict.claim.name, href=claim_href(verdict.claim.name), detail=number.cell(verdict))
                if linked
                else Cell(number.cell(verdict)),
                *(text_cell(column.cell(verdict)) for column in others),
            )
        )
        for verdict in verdicts
    ]
    return TableBlock("claimed and measured", heads, tuple(rows))


def _left_out_table(track: TrackSummary) -> TableBlock:
    heads = (
        ColumnHead("method"),
        ColumnHead("target"),
        ColumnHead("seed", numeric=True),
        ColumnHead("status"),
        ColumnHead("reason"),
        ColumnHead("run"),
        ColumnHead("command", code=True),
    )
    rows = tuple(
        TableRow(
            (
                Cell(each.method, href=method_page(each.method)),
                Cell(each.target),
                Cell(str(each.seed), sort=each.seed),
                Cell(each.status),
                Cell(each.reason),
                Cell(each.run_id, href=run_page(each.run_id)),
                Cell(each.command),
            )
        )
        for each in track.left_out
    )
    return TableBlock("runs that are left out", heads, rows, filters=("method", "status"))


def _track_table(board: Board) -> TableBlock:
    heads = (
        ColumnHead("track"),
        ColumnHead("methods", numeric=True),
        ColumnHead("runs", numeric=True),
        ColumnHead("left out", "runs that no row counts", numeric=True),
        ColumnHead("about"),
    )
    rows = tuple(
        TableRow(
            (
                Cell(track.name, href=track_page(track.name)),
                _count(len(track.methods)),
                _count(track.runs),
                _count(len(track.left_out)),
                Cell(track.text, mark="" if track.ranked else "not ranked"),
            )
        )
        for track in board.tracks
    )
    return TableBlock("tracks", heads, rows)


def _finding_table(board: Board) -> TableBlock:
    """What each table of each track says."""
    heads = (ColumnHead("track", "and what the rows that are compared share"), ColumnHead("finding"))
    rows = tuple(
        TableRow(
            (
                Cell(
                    track.name,
                    href=f"{track_page(track.name)}#{section_anchor(number)}",
                    detail=heading(table),
                    mark="saturated" if lead.saturated else "" if track.ranked else "not ranked",
                ),
                Cell(" ".join(lead.sentences)),
            )
        )
        for track in board.tracks
        for number, (table, lead) in enumerate(zip(track.tables, leads(track), strict=True), start=1)
    )
    return TableBlock("findings", heads, rows)


def _count(number: int) -> Cell:
    return Cell(str(number), sort=number)
