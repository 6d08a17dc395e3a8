"""docs/findings.md says what the committed records say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from bench.records.lookup import committed_results
from bench.records.record import Record
from bench.records.store import read_records

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def findings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("findings", DOCS / "findings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return read_records(committed_results())[0]


def test_the_page_is_what_the_records_say(findings: ModuleType, records: list[Record]) -> None:
    text = (DOCS / "findings.md").read_text(encoding="utf-8")
    assert findings.filled(text, records) == text, "stale: python docs/findings.py"


def test_a_changed_record_changes_the_page(findings: ModuleType, records: list[Record]) -> None:
    text = (DOCS / "findings.md").read_text(encoding="utf-8")
    fewer = [record for record in records if record.seed != 0]
    assert findings.filled(text, fewer) != text


def test_no_number_stands_outside_the_blocks(findings: ModuleType) -> None:
    """Numbers that a person typed could differ from the records; names of networks and the level of the bounds may."""
    text = (DOCS / "findings.md").read_text(encoding="utf-8")
    typed = re.sub(r"<!-- \w+ [^>]*-->.*?<!-- end -->", "", text, flags=re.DOTALL)
    numbers = re.findall(r"(?<![\w-])\d[\d.,]*(?![\w-])", typed)
    assert set(numbers) <= {"95"}


def test_a_track_without_records_says_what_makes_them(findings: ModuleType, records: list[Record]) -> None:
    made = findings.filled("<!-- sentences nowhere -->\n<!-- end -->\n", records)
    assert "No record yet: `bench run --track nowhere --method all --data DIR`." in made
