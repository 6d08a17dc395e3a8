"""The tables of the pages as a piece of HTML for a notebook: the same columns, numbers and look, no links, no plots."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from html import escape
from importlib.resources import files

from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.blocks import TableBlock
from bench.leaderboard.pages.columns import columns, heading
from bench.leaderboard.pages.html import table
from bench.leaderboard.pages.table_blocks import result_table
from bench.records.record import Record

__all__ = ["fragment", "fragment_of"]


def fragment(records: Iterable[Record]) -> str:
    """The results of each track and budget, a row a method and target; what is in no row, with the reason."""
    parts = []
    for track in summarise(records).tracks:
        for each in track.tables:
            title = f"{track.name}: {heading(each)}"
            shown = columns(each, track.ranked)
            rows = [rows for rows in (each.rows, each.curve_only) if rows]
            parts += [_titled(title, result_table(title, some, shown)) for some in rows]
        parts += [f"<p>{escape(f'left out: {run.run_id}: {run.reason}')}</p>" for run in track.left_out]
    return _styled("".join(parts) or "<p>no runs</p>")


def fragment_of(block: TableBlock) -> str:
    """One table."""
    return _styled(_titled(block.caption, block))


def _titled(title: str, block: TableBlock) -> str:
    rows = (replace(row, cells=tuple(replace(cell, href=None) for cell in row.cells)) for row in block.rows)
    return f"<p><strong>{escape(title)}</strong></p>{table(replace(block, rows=tuple(rows), filters=()))}"


def _styled(content: str) -> str:
    return f'<style>{_style()}</style><div class="bench-page">{content}</div>'


@cache
def _style() -> str:
    """The pages' style, for what lies in the piece alone, by nested rules; a viewer without them shows plain tables."""
    text = (files("bench.leaderboard.pages") / "templates" / "style.css").read_text(encoding="utf-8")
    text = re.sub(r"^\s*(body|header|main|footer)[^{]*\{[^}]*\}\n", "", text, flags=re.MULTILINE)
    return f".bench-page {{ background: var(--page); color: var(--text); {text.replace(':root', '&')} }}"
