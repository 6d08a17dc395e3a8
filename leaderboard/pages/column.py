"""A column of a table: the same for the page, a report and the terminal, whatever its rows are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Column"]

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column: its title, what it means, the text of a row, and whether it is a number."""

    title: str
    meaning: str
    cell: Callable[[T], str]
    number: bool = True
