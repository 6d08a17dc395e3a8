"""Text from others made safe to print: a terminal or a log acts on control characters, which nobody meant to send.

Names, errors, docstrings, settings, commands and keys come from plugins and from records that others wrote. What
follows a hostile escape sequence looks like our own words; so none is ever printed as it is.
"""

import json
import re
import unicodedata

__all__ = ["json_ascii", "json_text", "one_line", "plain"]

_ACTS = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode's categories that are not seen but act: controls, format (bidirectional) marks, surrogates, separators."""
_SEEN = frozenset("\n\t")
_OUTSIDE = re.compile(r"[^\x00-\x7e]")
_MAYBE = re.compile(r"[^\x20-\x7e\n\t]")


def plain(text: str, limit: int | None = None) -> str:
    r"""The text with every character that acts on a terminal written as an escape (`\x1b`); lines and tabs stay.

    Args:
        text: of any content, lone surrogates included.
        limit: characters of it that are kept, the end of the text being what says most.
    """
    if limit is not None and len(text) > limit:
        text = f"... {text[-limit:]}"
    return _MAYBE.sub(_shown, text)


def one_line(text: str, limit: int | None = 500) -> str:
    """The same in one line: all white space is a single blank."""
    return plain(" ".join(text.split()), limit)


def json_text(value: object, indent: int | None = 1) -> str:
    """A value as JSON for standard output, in ASCII: what acts on a terminal is an escape in it."""
    return json_ascii(json.dumps(value, indent=indent))


def json_ascii(text: str) -> str:
    """JSON text with everything outside ASCII as escapes: the same value."""
    return _OUTSIDE.sub(lambda found: json.dumps(found.group())[1:-1].replace("\x7f", "\\u007f"), text)


def _shown(found: re.Match[str]) -> str:
    character = found.group()
    if character in _SEEN or unicodedata.category(character) not in _ACTS:
        return character
    return character.encode("unicode_escape").decode()
