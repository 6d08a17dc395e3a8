"""Tables and lists as HTML, in Python and with every text escaped; everything else is in the templates.

A track may have a hundred thousand cells and a store ten thousand runs: a template that escapes cell by cell takes
three times as long.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from markupsafe import Markup

from bench.leaderboard.pages.blocks import Cell, ColumnHead, TableBlock, TableRow

__all__ = ["definitions", "plain_rows", "table"]


def table(block: TableBlock) -> Markup:
    """A table that `page.js` lets a reader sort and filter."""
    heads = block.columns
    caption = escape(block.caption)
    titles = [head.title for head in heads]
    filters = " ".join(str(titles.index(name)) for name in block.filters if name in titles)
    parts = [
        f'<div class="table">\n<div class="scroll" tabindex="0" role="region" aria-label="{caption}">\n<table',
        ' class="sortable"' if len(block.rows) > 1 else "",
        f' data-filters="{filters}"' if filters else "",
        f">\n<caption>{caption}</caption>\n<thead>\n<tr>",
        *(_head(head) for head in heads),
        "</tr>\n</thead>\n",
    ]
    opened = [_opening(head) for head in heads]
    for group, rows in groupby(block.rows, key=lambda row: row.group):
        parts.append("<tbody>\n")
        if group:
            parts.append(f'<tr class="group"><th scope="rowgroup" colspan="{len(heads)}"><span>')
            parts.append(f"{escape(group)}</span></th></tr>\n")
        parts += [_row(row, heads, opened) for row in rows]
        parts.append("</tbody>\n")
    parts.append("</table>\n</div>\n</div>")
    return Markup("".join(parts))


def plain_rows(rows: Iterable[Sequence[str]]) -> Markup:
    """Rows of a plain table: the first cell of each names it, the others are numbers."""
    parts = []
    for first, *others in rows:
        numbers = "".join([f'<td class="number">{escape(cell)}</td>' for cell in others])
        parts.append(f'<tr><th scope="row">{escape(first)}</th>{numbers}</tr>\n')
    return Markup("".join(parts))


def definitions(items: Iterable[tuple[str, str]]) -> Markup:
    """Names and values of a list of definitions."""
    return Markup("".join([f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>\n" for name, value in items]))


def _head(head: ColumnHead) -> str:
    kind = ' class="number"' if head.numeric else ' class="by-group"' if head.group else ""
    meaning = f' title="{escape(head.meaning)}"' if head.meaning else ""
    return f'<th scope="col"{kind}{meaning}>{escape(head.title)}</th>'


def _opening(head: ColumnHead) -> str:
    kinds = {"number": head.numeric, "by-group": head.group, "code": head.code}
    return "".join(["<td", *(f' class="{name}"' for name, is_so in kinds.items() if is_so)][:2])


def _row(row: TableRow, heads: Sequence[ColumnHead], opened: Sequence[str]) -> str:
    parts = [f'<tr><th scope="row">{_content(row.cells[0], heads[0])}</th>']
    for cell, head, opening in zip(row.cells[1:], heads[1:], opened[1:], strict=True):
        sort = f' data-sort="{cell.sort}"' if isinstance(cell.sort, int | float) else ""
        shade = "" if cell.shade is None else f' style="--shade:{round(100 * cell.shade)}%"'
        parts.append(f"{opening}{sort}{shade}>{_content(cell, head)}</td>")
    parts.append("</tr>\n")
    return "".join(parts)


def _content(cell: Cell, head: ColumnHead) -> str:
    text = escape(cell.text)
    if head.code:
        text = f"<code>{text}</code>"
    if cell.href:
        text = f'<a href="{escape(cell.href)}">{text}</a>'
    if cell.mark:
        text += f' <span class="mark">{escape(cell.mark)}</span>'
    if cell.detail:
        text += f"<br><small>{escape(cell.detail)}</small>"
    return text
