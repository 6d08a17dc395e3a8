"""What a terminal and a CI log are given: no text from others acts on them, whichever command prints it.

Two doors, and nothing past them: `print` goes through `safe_output`, which the command line opens once, and tables and
coloured text go through `make_console`. Markup is off: a name may be `[bold]`.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from bench.records.text import plain

__all__ = ["make_console", "safe_output"]

_COMMAND = re.compile(r"^(\s*)(?=::|##\[)", re.MULTILINE)
"""How a line begins that GitHub's runners take for a command."""


class _SafeStream:
    """A text stream whose text acts on nothing; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(_inert(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _SafeConsole(Console):
    """A console that colours only what is a `Text` of ours, and shows every string as it is."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_inert(text), **{**options, "markup": False, "emoji": False})


def make_console(stderr: bool = False, width: int | None = None) -> Console:
    """A console on standard output (or error): strings are shown as they are, a `Text` has colours."""
    stream = sys.stderr if stderr else sys.stdout
    return _SafeConsole(file=getattr(stream, "stream", stream), width=width, markup=False, emoji=False, highlight=False)


@contextmanager
def safe_output() -> Iterator[None]:
    """Inside, nothing that is printed acts on a terminal; JSON stays the same value."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _SafeStream(sys.stdout), _SafeStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _inert(text: str) -> str:
    return _COMMAND.sub(r"\1| ", plain(text))
