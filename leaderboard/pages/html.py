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

_PARTS = str.maketrans("\t\n\r", "   ")


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
    """Rows of a plain table: the first cell of each names it, the others are numbers.

    All are escaped at once: tabs and line ends part the cells, so those in a text become blanks first.
    """
    return _parted(
        rows,
        '<tr><th scope="row">',
        '</th><td class="number">',
        '</td><td class="number">',
        "</td></tr>\n",
    )


def definitions(items: Iterable[tuple[str, str]]) -> Markup:
    """Names and values of a list of definitions, escaped at once like `plain_rows`."""
    return _parted(items, "<div><dt>", "</dt><dd>", "", "</dd></div>\n")


def _parted(rows: Iterable[Sequence[str]], opening: str, first: str, between: str, closing: str) -> Markup:
    found = [tuple(cells) for cells in rows]
    if not found:
        return Markup()
    text = _joined(found)
    if text.count("\n") + text.count("\r") + text.count("\t") != sum(map(len, found)) - 1:
        text = _joined([[cell.translate(_PARTS) for cell in cells] for cells in found])
    text = escape(text).replace("\r", first).replace("\t", between).replace("\n", closing + opening)
    return Markup(opening + text + closing)


def _joined(rows: Iterable[Sequence[str]]) -> str:
    """The first cell of a row ends in a carriage return, the others are parted by tabs, rows by line ends."""
    return "\n".join(["\t".join(cells).replace("\t", "\r", 1) for cells in rows])


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
