"""What a report is made of, as plain data: the local page and the W&B report draw the same blocks.

No text here is escaped or marked up: whoever draws it does that for its own medium. The texts inside a `Plot`'s figure
are the exception, since plotly reads them as a little HTML of its own: `bench.leaderboard.pages.plots` escapes them.
"""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Block",
    "Cell",
    "Code",
    "ColumnHead",
    "Doc",
    "Facts",
    "Fold",
    "Link",
    "Plot",
    "ReportPlan",
    "Section",
    "TableBlock",
    "TableRow",
    "Text",
]


@dataclass(frozen=True)
class Link:
    """A link to another page of the folder; a report that has no such pages shows the text."""

    text: str
    href: str


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: what it says.
        links: where to read on.
        note: it is a warning, and stands out.
        lead: it is what the page has to say, and stands out more.
    """

    text: str
    links: tuple[Link, ...] = ()
    note: bool = False
    lead: bool = False


@dataclass(frozen=True)
class Code:
    """Text as it is typed into a terminal, or as a program wrote it."""

    text: str


@dataclass(frozen=True)
class Doc:
    """The text of a docstring: paragraphs apart by empty lines, code between backticks."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Values by name.

    Attributes:
        items: name and value.
        long: values are sentences, one below the other.
    """

    items: tuple[tuple[str, str], ...]
    long: bool = False


@dataclass(frozen=True)
class ColumnHead:
    """A column.

    Attributes:
        title, meaning: for people; a meaning may be empty.
        numeric: numbers, aligned right.
        code: text as it is typed.
        group: the column says again what the heading of a group of rows says: hidden while the rows stand in groups.
    """

    title: str
    meaning: str = ""
    numeric: bool = False
    code: bool = False
    group: bool = False


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        text: as it is shown.
        sort: what a table sorts by; None sorts last.
        href: the page it links to.
        detail: what is said in small letters below it.
        mark: a short label beside it.
        shade: 0 to 1, how strongly it is coloured, for tables that are read as a picture.
    """

    text: str
    sort: float | str | None = None
    href: str | None = None
    detail: str = ""
    mark: str = ""
    shade: float | None = None


@dataclass(frozen=True)
class TableRow:
    """One row: a cell a column, and the heading of the group that it stands under (empty: none)."""

    cells: tuple[Cell, ...]
    group: str = ""


@dataclass(frozen=True)
class TableBlock:
    """A table. Rows of a group follow each other; the first column names the row.

    Attributes:
        caption: what the table shows; also its name for a screen reader.
        filters: titles of columns that a reader may filter by: the first by text, the others by choice.
    """

    caption: str
    columns: tuple[ColumnHead, ...]
    rows: tuple[TableRow, ...]
    filters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        caption: what it shows.
        figure: plotly's figure as plain JSON values: `data` and `layout`, without colours of the page.
        height: in pixels.
        shows: what it is about, for a report that draws it from the runs themselves instead of this figure.
    """

    caption: str
    figure: dict[str, Any]
    height: int = 420
    shows: Literal["accuracy", "speed", "seconds", "epochs", "rewards", ""] = ""


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown when they are asked for.

    Attributes:
        title, blocks: what it is about, and what it holds.
        open: they are shown at once, and may be folded away.
    """

    title: str
    blocks: "tuple[Block, ...]"
    open: bool = False


Block = Text | Code | Doc | Facts | TableBlock | Plot | Fold


@dataclass(frozen=True)
class Section:
    """A heading, the place that a link finds it by, and what stands below."""

    heading: str
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class ReportPlan:
    """One report: a title, what stands before the first heading, and the sections."""

    title: str
    intro: tuple[Block, ...]
    sections: tuple[Section, ...]
