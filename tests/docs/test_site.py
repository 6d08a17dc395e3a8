"""The documentation builds without a warning, loads nothing from elsewhere, and names every command and public name."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_command_and_option_is_described(site: Path) -> None:
    import typer.main

    from bench.cli.main import app

    page = (site / "commands.html").read_text()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert f"bench {name}" in page
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                assert parameter.opts[0] in page
                assert parameter.help, f"bench {name} {parameter.opts[0]} has no help text"


def test_every_public_name_has_its_docstring_on_a_page(site: Path) -> None:
    page = (site / "api.html").read_text()
    missing = [name for name in bench.__all__ if f">{name}" not in page and f".{name}" not in page]
    assert not missing
    assert len(re.sub(r"<[^>]+>", " ", page).split()) > 2000


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loading = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//')
    for page in site.glob("*.html"):
        found = [match.group(0) for match in loading.finditer(page.read_text()) if "canonical" not in match.group(0)]
        assert not found, page.name


def test_every_committed_record_fits_the_published_schema_of_its_version(site: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from bench.records.record import SCHEMA

    schema = json.loads((site / "record.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    results = ROOT / "leaderboard" / "results"
    records = [json.loads(path.read_text()) for path in sorted(results.glob("*/record.json"))[::40]]
    current = [record for record in records if record["schema"] == SCHEMA]
    for record in current:
        assert not list(validator.iter_errors(record)), record["run_id"]
    broken = {**(records[0]), "schema": SCHEMA, "seed": "three"}
    assert list(validator.iter_errors(broken))
