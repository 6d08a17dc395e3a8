"""The documents name files that are there, and every room says what it is for."""

import ast
import re
from pathlib import Path

import pytest

from bench.trial.methods import method_classes

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("bench", "methods", "datasets", "leaderboard", "tests", "docs", ".ci", ".github")
_PATH = re.compile(rf"`((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*)`")
ROOMS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("bench", "methods", "datasets", "leaderboard")
    for path in (ROOT / folder).rglob("__init__.py")
)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_file_that_a_document_names_is_there(document: str) -> None:
    found = _PATH.findall((ROOT / document).read_text(encoding="utf-8"))
    named = [path for path in found if "NAME" not in path and "smallest" not in path]  # of files to be written
    assert len(named) > 3
    assert [path for path in named if not any(ROOT.glob(path.rstrip("/")))] == []


def test_the_readme_lists_every_method_with_its_kind() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (structured|unstructured|control) \|", text, re.MULTILINE))
    assert rows == {name: "control" if found.control else found.kind for name, found in method_classes().items()}


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_it_is_for(room: str) -> None:
    text = ast.get_docstring(ast.parse((ROOT / room).read_text(encoding="utf-8")))
    assert text and len(text) > 40
