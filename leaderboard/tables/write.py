"""Flat tables as text, Markdown, CSV and LaTeX (booktabs), with the command and the records' fingerprint."""

import csv
import io
from collections.abc import Sequence
from typing import Literal

from bench.leaderboard.tables.flat import FlatTable

__all__ = ["FORMATS", "Format", "written"]

Format = Literal["text", "markdown", "csv", "latex"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "csv", "latex")

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "→": r"$\to$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


def written(tables: Sequence[FlatTable], how: Format, command: str, digest: str) -> str:
    """The tables.

    Args:
        tables: from `bench.leaderboard.tables.flat`.
        how: `csv` holds every column, all tables in one; a comment would not be read back, so there is none. The others
            show fewer columns, rounded; bold is a row that is told apart from every other method as the best.
        command: makes the same again.
        digest: of the records.
    """
    if how == "csv":
        return _csv(tables)
    write = {"text": _text, "markdown": _markdown, "latex": _latex}[how]
    note = f"made by: {' '.join(command.split())}; records {digest}"
    return write(tables, note)


def _cells(table: FlatTable) -> list[list[str]]:
    return [[" ".join(cell(row).split()) for cell in table.columns.values()] for row in table.rows]


def _csv(tables: Sequence[FlatTable]) -> str:
    names = list(dict.fromkeys(name for table in tables for row in table.rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        writer.writerows(table.rows)
    return out.getvalue()


def _text(tables: Sequence[FlatTable], note: str) -> str:
    parts = []
    for table in tables:
        lines = [list(table.columns), *_cells(table)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]
        parts.append(table.title)
        parts += [_aligned(line, widths) for line in lines]
        parts.append("")
    return "\n".join([*parts, note]) + "\n"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if place < 2 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _markdown(tables: Sequence[FlatTable], note: str) -> str:
    parts = []
    for table in tables:
        parts += [f"**{_bar(table.title)}**", "", f"| {' | '.join(map(_bar, table.columns))} |"]
        parts.append("|---|" + "---:|" * (len(table.columns) - 1))
        for place, line in enumerate(_cells(table)):
            cells = [_bar(cell) for cell in line]
            if _is_bold(table, place):
                cells = [f"**{cell}**" for cell in cells]
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    return "\n".join([*parts, f"<!-- {note.replace('--', '- -')} -->"]) + "\n"


def _latex(tables: Sequence[FlatTable], note: str) -> str:
    parts = ["% " + note, "% needs \\usepackage{booktabs}"]
    for table in tables:
        parts += [f"% {' '.join(table.title.split())}", f"\\begin{{tabular}}{{ll{'r' * (len(table.columns) - 2)}}}"]
        parts += ["\\toprule", " & ".join(map(_tex, table.columns)) + r" \\", "\\midrule"]
        for place, line in enumerate(_cells(table)):
            cells = [_tex(cell) for cell in line]
            if _is_bold(table, place):
                cells = [f"\\textbf{{{cell}}}" for cell in cells]
            parts.append(" & ".join(cells) + r" \\")
        parts += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(parts)


def _is_bold(table: FlatTable, place: int) -> bool:
    return place < len(table.bold) and table.bold[place]


def _bar(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _tex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
