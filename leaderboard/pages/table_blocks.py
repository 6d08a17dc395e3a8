"""What a report says of one table: ranks and results, speed-up, cost by phase, widths, rewards, and the commands."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bench.leaderboard.board.board import Row, Table, TrackSummary
from bench.leaderboard.pages import accuracy_plots
from bench.leaderboard.pages import plots as plot
from bench.leaderboard.pages.blocks import Block, Cell, ColumnHead, Facts, Fold, Plot, TableBlock, TableRow, Text
from bench.leaderboard.pages.column import Column
from bench.leaderboard.pages.columns import columns, heading
from bench.leaderboard.pages.details import RowDetails, row_details
from bench.leaderboard.pages.links import method_page, run_page
from bench.leaderboard.pages.rank_plots import matrix_rows, pair_matrix, rank_bars
from bench.leaderboard.pages.ranking_columns import RankingTable, ranking_tables
from bench.records.record import Record

__all__ = ["result_table", "table_blocks", "text_cell"]

SHOWN_AT_ONCE = 40
"""Rows up to which cost by phase and widths by layer are shown without being asked for."""

PANELS = 4
"""Reward curves beside each other."""

_LEADING = re.compile(r"[+−-]?\d+(?:\.\d+)?")


def table_blocks(
    track: TrackSummary,
    table: Table,
    colour: Mapping[str, str],
    records: Mapping[str, Record],
    rewards: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Block, ...]:
    """Everything about one table of a track, in the order of reading."""
    shown = columns(table, track.ranked)
    blocks: list[Block] = list(_pictures(table))
    blocks.append(
        Plot(
            "Test accuracy over MACs in the region of the pruned networks; controls are dotted, the dense network is "
            "the dashed line. The numbers are in the table below.",
            accuracy_plots.accuracy(table, colour),
            shows="accuracy",
        )
    )
    ranking = ranking_tables(table)
    blocks += [_ranking_table(ranking_table) for ranking_table in ranking if not ranking_table.detail]
    if table.rows:
        blocks.append(result_table(f"Results: {heading(table)}", table.rows, shown))
    if table.curve_only:
        text = (
            "With a size that the method chose itself (target auto): on the plot, and here, but not comparable with "
            "the rows above."
        )
        blocks += [Text(text), result_table(f"Own size: {heading(table)}", table.curve_only, shown)]
    meanings = tuple((column.title, column.meaning) for column in shown)
    blocks.append(Fold("What the columns mean", (Facts(meanings, long=True),)))
    compared = [ranking_table for ranking_table in ranking if ranking_table.detail]
    blocks += [_ranking_table(ranking_table) for ranking_table in compared]
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
    detailed = [(row, found) for row in every if (found := row_details(row, records, rewards)) is not None]
    if detailed:
        blocks += _detail_blocks(table, detailed, colour)
    blocks.append(Fold("The command of every row", (_command_table(every),)))
    return tuple(blocks)


def _pictures(table: Table) -> Iterable[Block]:
    """Rank intervals and the matrix of pairs, target by target."""
    for target in table.ranking.targets:
        rows = table.at(target.target)
        pictures: list[Block] = []
        if (bars := rank_bars(rows)) is not None:
            ranked = sum(row.rank is not None for row in rows)
            caption = "The ranks that each method may have, the best mean on top; pale: fewer than five seeds."
            pictures.append(Plot(f"{target.target}. {caption}", bars, 80 + 28 * ranked))
        if (matrix := pair_matrix(target)) is not None:
            caption = "Each row against each column; the numbers on hover, and in the table further down."
            pictures.append(Plot(f"{target.target}. {caption}", matrix, 170 + 28 * matrix_rows(target)))
        if pictures:
            told = any(test.outcome != "unknown" for test in target.pair_tests)
            title = f"Who is better than whom at {target.target}{'' if told else ': nothing is told apart'}"
            yield Fold(title, tuple(pictures), open=told)


def _ranking_table(ranking_table: RankingTable) -> Fold:
    """One ranking_table of the ranking."""
    heads = tuple(ColumnHead(each.title, each.meaning, numeric=each.number) for each in ranking_table.columns)
    blocks: list[Block] = [Text(note) for note in ranking_table.notes]
    if ranking_table.rows:
        rows = tuple(
            TableRow(
                tuple(text_cell(text) if head.numeric else Cell(text) for text, head in zip(row, heads, strict=True))
            )
            for row in ranking_table.rows
        )
        blocks.append(TableBlock(ranking_table.title, heads, rows))
    return Fold(ranking_table.title, tuple(blocks), open=not ranking_table.detail)


def result_table(caption: str, rows: Sequence[Row], shown: Sequence[Column[Row]]) -> TableBlock:
    """Rows of results, grouped by target."""
    heads = (
        ColumnHead("method"),
        ColumnHead("target", group=True),
        *(ColumnHead(column.title, column.meaning, numeric=column.number) for column in shown),
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
                    *(text_cell(column.cell(row), _sort(column.title, row)) for column in shown),
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
        detail=", ".join(
            filter(None, (row.variant, f"the same networks: {', '.join(row.twins)}" if row.twins else ""))
        ),
        mark="control" if row.control else "",
    )


def text_cell(text: str, sort: float | str | None = None) -> Cell:
    """A cell that sorts by the number its text begins with, unless `sort` says by what."""
    if sort is None and (match := _LEADING.search(text)):
        sort = float(match[0].replace("−", "-"))
    return Cell(text, sort=sort)


def _sort(title: str, row: Row) -> float | None:
    """What a column sorts by where its text does not begin with that number."""
    if title == "device time":
        return row.device_seconds
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
