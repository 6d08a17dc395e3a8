"""Text from others: nothing in it acts on a terminal."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records.text import json_ascii, one_line, plain


def test_what_acts_is_written_as_an_escape_and_what_is_seen_stays() -> None:
    assert plain("\x1b[31mred\x1b]0;t\x07 \x9b2J\r\u202e\u2028\ud800") == (
        "\\x1b[31mred\\x1b]0;t\\x07 \\x9b2J\\r\\u202e\\u2028\\ud800"
    )
    assert plain("top-1 0.97 → é 日本 😀\n\t[bold]") == "top-1 0.97 → é 日本 😀\n\t[bold]"
    assert one_line("a\nb\r\n  c\t\x1bd") == "a b c \\x1bd"
    assert plain("0123456789", limit=4) == "... 6789"


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_leaves_a_character_that_acts(text: str) -> None:
    shown = plain(text)
    assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co") and each not in "\n\t"]
    assert "\n" not in one_line(text)
    shown.encode()


@pytest.mark.parametrize("text", ["\x9b2J", "\u202e", "é", "\U0001f600", "\x7f"])
def test_json_in_ascii_is_the_same_value(text: str) -> None:
    written = json_ascii(json.dumps({text: text}, ensure_ascii=False))
    assert written.isascii() and "\x7f" not in written
    assert json.loads(written) == {text: text}
