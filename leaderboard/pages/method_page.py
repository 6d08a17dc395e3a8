"""The plan of a method's page: what it is, its settings, its rows on all tracks, its claims and all its runs."""

from collections.abc import Iterable, Mapping, Sequence

from bench.leaderboard.board.board import Board
from bench.leaderboard.pages.blocks import (
    Block,
    Cell,
    Code,
    ColumnHead,
    Doc,
    Facts,
    Link,
    ReportPlan,
    Section,
    TableBlock,
    TableRow,
    Text,
)
from bench.leaderboard.pages.columns import heading, interval, points
from bench.leaderboard.pages.installed import Installed
from bench.leaderboard.pages.links import CLAIMS, method_page, run_page, track_page
from bench.leaderboard.pages.track_page import section_anchor, verdict_table
from bench.leaderboard.verdicts.verdicts import ClaimVerdict
from bench.records.format import percent
from bench.records.record import Record

__all__ = ["method_plan", "method_row"]


def method_row(name: str, installed: Installed | None, records: Sequence[Record]) -> TableRow:
    """A method's row in the overview."""
    kind, control = _kind(installed, records)
    return TableRow(
        (
            Cell(name, href=method_page(name)),
            Cell(kind),
            Cell("control" if control else "method"),
            Cell(str(len(records)), sort=len(records)),
            Cell(installed.reference if installed else "not installed here"),
        )
    )


def method_plan(
    name: str,
    installed: Installed | None,
    records: Sequence[Record],
    board: Board,
    verdicts: Iterable[ClaimVerdict],
) -> ReportPlan:
    """The page of one method.

    Args:
        name: of the method.
        installed: what it says of itself; None where it is not installed, and only its records tell.
        records: all its runs, claims' included.
        board: the tracks.
        verdicts: of all claims.
    """
    sections = [
        Section("Settings", "settings", _settings(installed)),
        Section("Results", "results", _results(name, board)),
    ]
    own = [verdict for verdict in verdicts if verdict.claim.method == name]
    if own:
        text = Text("What its paper says beside what was measured.", links=(Link("Sources and commands", CLAIMS),))
        sections.append(Section("Claims", "claims", (text, verdict_table(own))))
    sections.append(Section("Runs", "runs", _runs(name, records, board)))
    return ReportPlan(name, _intro(installed, records), tuple(sections))


def _kind(installed: Installed | None, records: Sequence[Record]) -> tuple[str, bool]:
    if installed:
        return installed.kind, installed.control
    return (records[0].kind, records[0].control) if records else ("", False)


def _intro(installed: Installed | None, records: Sequence[Record]) -> tuple[Block, ...]:
    kind, control = _kind(installed, records)
    facts = [("kind", kind), ("role", "control" if control else "method"), ("runs", str(len(records)))]
    if installed is None:
        note = Text("This method is not installed here: its page is made from its records alone.", note=True)
        return note, Facts(tuple(facts))
    facts += [
        ("starts from", {"trained": "the dense network", "untrained": "a fresh network"}.get(installed.starts, "")),
        ("fine-tuned by", {"track": "the track's recipe", "itself": "itself"}.get(installed.finetunes, "")),
        ("targets", {"size": "a size", "any": "a size, or auto", "none": "none"}.get(installed.targets, "")),
        ("reference", installed.reference),
    ]
    return Doc(installed.text), Facts(tuple(facts))


def _settings(installed: Installed | None) -> tuple[Block, ...]:
    if installed is None:
        return (Text("Unknown: the method is not installed. Each run's page lists those that it was run with."),)
    if not installed.settings:
        return (Text("It has none."),)
    heads = (
        ColumnHead("setting"),
        ColumnHead("type"),
        ColumnHead("default"),
        ColumnHead("what it does"),
    )
    rows = tuple(
        TableRow((Cell(each.name), Cell(each.type), Cell(each.default), Cell(each.description)))
        for each in installed.settings
    )
    return Text("Set one with --set NAME=VALUE."), TableBlock("settings", heads, rows)


def _results(name: str, board: Board) -> tuple[Block, ...]:
    heads = (
        ColumnHead("track"),
        ColumnHead("table"),
        ColumnHead("target"),
        ColumnHead("settings", "what sets the row apart from others of the method"),
        ColumnHead("top-1", "on test, mean over seeds, 95 % Student interval", numeric=True),
        ColumnHead("difference", "pruned minus dense in percentage points, paired by seed", numeric=True),
        ColumnHead("MACs", "share of the dense network's multiply-accumulates that is kept", numeric=True),
        ColumnHead("params", "share of the dense network's parameters that is kept", numeric=True),
        ColumnHead("compression", "dense parameters / nonzero parameters left", numeric=True),
        ColumnHead("seeds", "number of seeds", numeric=True),
    )
    rows = tuple(
        TableRow(
            (
                Cell(track.name, href=f"{track_page(track.name)}#{section_anchor(number)}"),
                Cell(heading(table)),
                Cell(row.target),
                Cell(
                    ", ".join(filter(None, (row.variant, f"the same networks: {row.label}" if row.twins else "")))
                    or "–"
                ),
                Cell(interval(row.top1_test), sort=row.top1_test.mean),
                Cell(points(row.difference), sort=row.difference.mean),
                Cell(percent(row.macs_ratio, 1), sort=row.macs_ratio),
                Cell(percent(row.params_ratio, 1), sort=row.params_ratio),
                Cell(f"{row.compression:.2f}×", sort=row.compression),
                Cell(str(row.top1_test.n), sort=row.top1_test.n),
            )
        )
        for track in board.tracks
        for number, table in enumerate(track.tables, start=1)
        for row in (*table.rows, *table.curve_only)
        if name in row.methods
    )
    if not rows:
        return (Text("No row of a track counts a run of it yet. Make some:"), Code(f"bench run --method {name}"))
    return (TableBlock("results on all tracks", heads, rows, filters=("track", "target")),)


def _runs(name: str, records: Sequence[Record], board: Board) -> tuple[Block, ...]:
    if not records:
        return (Text("None yet."),)
    pages: Mapping[str, str] = {track.name: track_page(track.name) for track in board.tracks}
    heads = (
        ColumnHead("run"),
        ColumnHead("track"),
        ColumnHead("target"),
        ColumnHead("seed", numeric=True),
        ColumnHead("status"),
        ColumnHead("top-1", "of the pruned network on test", numeric=True),
        ColumnHead("MACs", "share that is kept", numeric=True),
    )
    rows = tuple(
        TableRow(
            (
                Cell(record.run_id, href=run_page(record.run_id)),
                Cell(record.track, href=pages.get(record.track)),
                Cell(record.target),
                Cell(str(record.seed), sort=record.seed),
                Cell(record.status),
                _share(record.pruned.top1_test if record.pruned else None, 2),
                _share(record.ratios.macs if record.ratios else None, 1),
            )
        )
        for record in sorted(records, key=lambda each: (each.track, each.target, each.seed, each.run_id))
    )
    return (TableBlock(f"runs of {name}", heads, rows, filters=("run", "track", "target", "status")),)


def _share(value: float | None, digits: int) -> Cell:
    return Cell("–") if value is None else Cell(percent(value, digits), sort=value)
