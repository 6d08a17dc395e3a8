"""The plan of a report: which blocks say what, made from a board. The pages and the W&B report both draw it."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bench.leaderboard import plot
from bench.leaderboard.blocks import (
    Block,
    Cell,
    Code,
    ColumnHead,
    Facts,
    Fold,
    Link,
    Plot,
    ReportPlan,
    Section,
    TableBlock,
    TableRow,
    Text,
)
from bench.leaderboard.board import Board, Row, Table, TrackSummary
from bench.leaderboard.cells import Column, columns, heading
from bench.leaderboard.details import RowDetails, row_details
from bench.leaderboard.links import CLAIMS, claim_href, method_page, run_page, track_page
from bench.leaderboard.ranking_cells import Sheet, sheets
from bench.leaderboard.verdict_cells import COLUMNS
from bench.leaderboard.verdicts import Verdict
from bench.record import Record

__all__ = ["overview_plan", "section_anchor", "track_plan", "verdict_table"]

SHOWN_AT_ONCE = 40
PANELS = 4  # reward curves beside each other
"""Rows up to which cost by phase and widths by layer are shown without being asked for."""

_LEADING = re.compile(r"[+−-]?\d+(?:\.\d+)?")


def section_anchor(number: int) -> str:
    """The anchor of a track's table of that number, from 1."""
    return f"table-{number}"


def track_plan(
    track: TrackSummary, verdicts: Sequence[Verdict] = (), records: Mapping[str, Record] | None = None
) -> ReportPlan:
    """The report of one track.

    Args:
        track: what is compared.
        verdicts: of all claims; those on the track's network and data are shown.
        records: by run id; without them cost by phase and widths by layer are left out.
    """
    left_out = len(track.left_out)
    intro: list[Block] = [Text(track.text)] if track.text else []
    facts = (*track.facts.items(), ("runs", str(track.runs)), ("left out", str(left_out)))
    intro.append(Facts(tuple(facts)))
    if not track.ranked:
        why = "This track is too small to rank methods: it is there for smoke and regression tests."
        intro.append(Text(why, note=True))
    if not track.tables:
        intro.append(Text("No run of this track can be shown yet."))
    colour = plot.colours(track.methods)
    sections = [
        Section(heading(table), section_anchor(number), _table_blocks(track, table, colour, records or {}))
        for number, table in enumerate(track.tables, start=1)
    ]
    own = [verdict for verdict in verdicts if verdict.claim.base == track.name]
    if own:
        text = Text(
            "On schedules of their own, not on this track's budget.", links=(Link("Sources and commands", CLAIMS),)
        )
        sections.append(Section("What papers claim of this network and data set", "claims", (text, verdict_table(own))))
    if track.left_out:
        sections.append(Section("Left out", "left-out", (Text("Runs that no row counts."), _left_out_table(track))))
    return ReportPlan(track.name, tuple(intro), tuple(sections))


def overview_plan(board: Board, verdicts: Sequence[Verdict] = (), methods: Sequence[TableRow] = ()) -> ReportPlan:
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
        sections.append(Section("Tracks", "tracks", (_track_table(board),)))
        if (best := _best_table(board)) is not None:
            text = "The methods that no other is significantly better than, where two or more are compared."
            sections.append(Section("First ranks", "best", (Text(text), best)))
    else:
        intro = (
            Text("There are no records yet. Make some, then write this page again:"),
            Code("bench run\nbench leaderboard"),
        )
    if methods:
        table = TableBlock("methods", METHOD_COLUMNS, tuple(methods), filters=("method", "kind"))
        sections.append(Section("Methods", "methods", (table,)))
    counts = Counter(verdict.word for verdict in verdicts)
    words = ", ".join(f"{counts[word]} {word}" for word in ("reproduced", "not reproduced", "not run"))
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


def verdict_table(verdicts: Sequence[Verdict], linked: bool = True) -> TableBlock:
    """Claimed and measured.

    Args:
        verdicts: a row each.
        linked: each row names its claim and links to it.
    """
    first, *others = COLUMNS
    heads = (
        ColumnHead("claim" if linked else first.title, first.meaning),
        *(ColumnHead(column.title, column.meaning, numeric=column.title != "verdict") for column in others),
    )
    rows = [
        TableRow(
            (
                Cell(verdict.claim.name, href=claim_href(verdict.claim.name), detail=first.cell(verdict))
                if linked
                else Cell(first.cell(verdict)),
                *(_cell(column.cell(verdict)) for column in others),
            )
        )
        for verdict in verdicts
    ]
    return TableBlock("claimed and measured", heads, tuple(rows))


def _table_blocks(
    track: TrackSummary, table: Table, colour: Mapping[str, str], records: Mapping[str, Record]
) -> tuple[Block, ...]:
    shown = columns(table, track.ranked)
    blocks: list[Block] = [
        Plot(
            "Test accuracy over MACs; the numbers are in the table below.",
            plot.accuracy(table, colour),
            shows="accuracy",
        )
    ]
    ranking = sheets(table)
    blocks += [_sheet(sheet) for sheet in ranking if not sheet.detail]
    if table.rows:
        blocks.append(_result_table(f"Results: {heading(table)}", table.rows, shown))
    if table.curve_only:
        text = (
            "With a size that the method chose itself (target auto): on the plot, and here, but not comparable with "
            "the rows above."
        )
        blocks += [Text(text), _result_table(f"Own size: {heading(table)}", table.curve_only, shown)]
    meanings = tuple((column.title, column.meaning) for column in shown)
    blocks.append(Fold("What the columns mean", (Facts(meanings, long=True),)))
    compared = [sheet for sheet in ranking if sheet.detail]
    blocks += [_sheet(sheet) for sheet in compared]
    if compared:
        meanings = tuple((column.title, column.meaning) for column in compared[0].columns)
        blocks.append(Fold("What the columns of these comparisons mean", (Facts(meanings, long=True),)))
    figure = plot.speed(table, colour)
    if figure is not None:
        batches = sorted({change.batch for row in table.rows for change in row.latency})
        filled = f"Filled: batch {batches[0]}; open: batch {', '.join(map(str, batches[1:]))}. " if batches[1:] else ""
        caption = (
            f"Measured speed-up beside MACs: a point a row and batch size. {filled}On the dashed line a network is as "
            "much faster as its MACs are fewer."
        )
        blocks.append(Plot(caption, figure, shows="speed"))
    every = (*table.rows, *table.curve_only)
    detailed = [(row, found) for row in every if (found := row_details(row, records)) is not None]
    if detailed:
        blocks += _detail_blocks(table, detailed, colour)
    blocks.append(Fold("The command of every row", (_command_table(every),)))
    return tuple(blocks)


def _sheet(sheet: Sheet) -> Fold:
    """One sheet of the ranking."""
    heads = tuple(ColumnHead(each.title, each.meaning, numeric=each.number) for each in sheet.columns)
    blocks: list[Block] = [Text(note) for note in sheet.notes]
    if sheet.rows:
        rows = tuple(
            TableRow(tuple(_cell(text) if head.numeric else Cell(text) for text, head in zip(row, heads, strict=True)))
            for row in sheet.rows
        )
        blocks.append(TableBlock(sheet.title, heads, rows))
    return Fold(sheet.title, tuple(blocks), open=not sheet.detail)


def _result_table(caption: str, rows: Sequence[Row], shown: Sequence[Column]) -> TableBlock:
    heads = (
        ColumnHead("method"),
        ColumnHead("target", group=True),
        *(ColumnHead(column.title, column.meaning, numeric=column.title != "standing") for column in shown),
    )
    own_size = all(row.target == "auto" for row in rows)
    return TableBlock(
        caption,
        heads,
        tuple(
            TableRow(
                (
                    _method_cell(row),
                    Cell(row.target, sort=row.target),
                    *(_cell(column.cell(row), _sort(column.title, row)) for column in shown),
                ),
                group="" if own_size else _target_heading(row.target),
            )
            for row in rows
        ),
        filters=() if own_size else ("method", "target"),
    )


def _target_heading(target: str) -> str:
    return "no target (the dense network, given the whole budget)" if target == "none" else target


def _method_cell(row: Row) -> Cell:
    return Cell(
        row.method,
        sort=row.label,
        href=method_page(row.method),
        detail=row.variant,
        mark="control" if row.control else "",
    )


def _cell(text: str, sort: float | str | None = None) -> Cell:
    if sort is None and (match := _LEADING.search(text)):
        sort = float(match[0].replace("−", "-"))
    return Cell(text, sort=sort)


def _sort(title: str, row: Row) -> float | str | None:
    """What a column sorts by where its text does not begin with that number."""
    if title == "device time":
        return row.device_seconds
    if title == "standing":
        return row.standing
    for change in row.latency:
        if title == f"latency, batch {change.batch}":
            return change.pruned_seconds
    return None


def _detail_blocks(table: Table, detailed: Sequence[tuple[Row, RowDetails]], colour: Mapping[str, str]) -> list[Block]:
    height = max(200, 110 + 22 * len(detailed))
    plots: list[Block] = [
        Plot(
            "Cost by phase in device seconds, mean over seeds.",
            plot.cost(detailed, "device_seconds"),
            height,
            "seconds",
        )
    ]
    if all(cost.dense_epochs is not None for _, found in detailed for cost in found.cost.values()):
        caption = "Cost by phase in dense epochs, mean over seeds: 1 is a training epoch of the dense network."
        plots.append(Plot(caption, plot.cost(detailed, "dense_epochs"), height, "epochs"))
    blocks: list[Block] = [Fold("Cost by phase", tuple(plots), open=len(detailed) <= SHOWN_AT_ONCE)]
    if (widths := _width_table(table, detailed)) is not None:
        blocks.append(widths)
    searched: dict[str, list[tuple[Row, RowDetails]]] = defaultdict(list)
    for row, found in detailed:
        if found.rewards:
            searched[row.target].append((row, found))
    curves = [
        Plot(
            f"{target}, rewards {first + 1} to {first + len(some)} of {len(rows)}.",
            plot.rewards(some, colour),
            300,
            "rewards",
        )
        for target, rows in searched.items()
        for first in range(0, len(rows), PANELS)
        for some in [rows[first : first + PANELS]]
    ]
    if curves:
        text = (
            "What each search was rewarded with, step by step (a walk, or a sweep of id-rl), and the best so far; one "
            "line a seed. Scales differ: methods are rewarded for different things."
        )
        blocks.append(Fold("Rewards of the searches", (Text(text), *curves), open=len(curves) == 1))
    return blocks


def _width_table(table: Table, detailed: Sequence[tuple[Row, RowDetails]]) -> Fold | None:
    """What each layer keeps; layers that no row narrows are left out."""
    pruned = [(row, found) for row, found in detailed if row.target != "none" and found.kept]
    names = dict.fromkeys(name for _, found in pruned for name in found.kept)
    narrowed = [name for name in names if any(found.kept.get(name, 1.0) < 1 for _, found in pruned)]
    if not narrowed:
        return None
    what = "channels" if table.kind == "structured" else "nonzero parameters"
    rows = tuple(
        TableRow(
            (
                _method_cell(row),
                Cell(row.target, sort=row.target),
                *(_share(found.kept.get(name)) for name in narrowed),
            ),
            group=_target_heading(row.target),
        )
        for row, found in pruned
    )
    heads = (
        ColumnHead("method"),
        ColumnHead("target", group=True),
        *(ColumnHead(name, f"share of its {what} that is kept, mean over seeds", numeric=True) for name in narrowed),
    )
    caption = f"Share of each layer's {what} that is kept, mean over seeds"
    others = len(names) - len(narrowed)
    rest = f" Left out: {others} that no row narrows." if others else ""
    blocks = (Text(f"{caption}.{rest}"), TableBlock(caption, heads, rows))
    return Fold("Widths by layer", blocks, open=len(rows) <= SHOWN_AT_ONCE)


def _share(kept: float | None) -> Cell:
    if kept is None:
        return Cell("–")
    return Cell(f"{100 * kept:.0f} %" if kept >= 0.1 else f"{100 * kept:.1f} %", sort=kept, shade=kept)


def _command_table(rows: Iterable[Row]) -> TableBlock:
    heads = (
        ColumnHead("run"),
        ColumnHead("method"),
        ColumnHead("target"),
        ColumnHead("seed", numeric=True),
        ColumnHead("command", code=True),
    )
    return TableBlock(
        "the command of every run",
        heads,
        tuple(
            TableRow(
                (
                    Cell(run.run_id, href=run_page(run.run_id)),
                    Cell(row.label),
                    Cell(row.target),
                    Cell(str(run.seed), sort=run.seed),
                    Cell(run.command),
                )
            )
            for row in rows
            for run in row.runs
        ),
        filters=("run", "method", "target"),
    )


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


def _best_table(board: Board) -> TableBlock | None:
    """Who shares the first rank at each target; None where nothing is ranked."""
    heads = (
        ColumnHead("track"),
        ColumnHead("table", "what the rows that are compared share"),
        ColumnHead("target"),
        ColumnHead("first rank", "1 + the number of methods that are significantly better; ties share it"),
        ColumnHead("ranked", "rows with a rank at this target", numeric=True),
    )
    rows = []
    for track in board.tracks:
        for number, table in enumerate(track.tables, start=1):
            for target in table.targets:
                placed = [row for row in table.at(target) if row.place is not None]
                first = [row for row in placed if row.place is not None and row.place.rank == 1]
                if len(placed) < 2:
                    continue
                names = ", ".join(
                    f"{row.label} (provisional)" if row.place and row.place.provisional else row.label for row in first
                )
                cells = (
                    Cell(track.name, href=f"{track_page(track.name)}#{section_anchor(number)}"),
                    Cell(heading(table)),
                    Cell(target),
                    Cell(names),
                    _count(len(placed)),
                )
                rows.append(TableRow(cells))
    return TableBlock("first ranks", heads, tuple(rows), filters=("track", "target")) if rows else None


def _count(number: int) -> Cell:
    return Cell(str(number), sort=number)
