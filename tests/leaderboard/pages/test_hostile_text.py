"""Whatever a record or a plugin says is text: it changes nothing on a page but the text that is shown."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from bench import Config, Method, Trial
from bench.leaderboard.pages.site import write_leaderboard
from bench.plugins import registered
from bench.records.record import Record
from bench.records.store import Unreadable

MakeRecord = Callable[..., Record]
FullFields = Callable[[str], dict[str, Any]]
EVIL = (
    "</script><script>window.hacked=1</script><!-- \"'><img src=x onerror=window.hacked=1> {{ 7 * 7 }} {% raw %} "
    "&lt;b&gt; <b>%{y}</b> $x$ ]]> \u2028 `code` javascript:alert(1)"
)
PLAIN = "a plain text"


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts of a JSON value are."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from strings(each, (*path, key))


def put(fields: dict[str, Any], path: tuple[Any, ...], text: str) -> dict[str, Any]:
    changed = json.loads(json.dumps(fields))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = text
    return changed


def spoilt(record: Record, text: str) -> tuple[Record, set[str]]:
    """The record with `text` in every field that takes any, and the fields that do not."""
    fields = json.loads(record.to_json())
    refused = set()
    for path in strings(fields):
        changed = put(fields, path, text)
        try:
            Record.model_validate(changed)
        except ValidationError:
            refused.add(".".join(str(key) for key in path if not isinstance(key, int)))
        else:
            fields = changed
    return Record.model_validate(fields), refused


def folder(tmp_path: Path, make_record: MakeRecord, full_fields: FullFields, text: str) -> Path:
    """A leaderboard with `text` wherever one may stand: in rows, on the curve, left out, failed, unreadable."""
    bare = full_fields(text)
    made = [
        *(make_record(run_id=f"a{seed}", seed=seed, **bare) for seed in range(3)),
        *(make_record(run_id=f"b{seed}", seed=seed, **{**bare, "config": {text: text}}) for seed in range(3)),
        make_record(run_id="u", kind="unstructured", target="auto", **bare),
        make_record(run_id="f", status="failed", error=text, **bare),
        make_record(run_id="m", status="invalid", error=f"{text}\n{text}", **{**bare, "dense": None, "pruned": None}),
        make_record(run_id="gone", method="not-installed", **bare),
    ]
    records = []
    for record in made:
        changed, refused = spoilt(record, text)
        names = {"run_id", "status", "method", "kind", "track", "target", "budget.unit", "curve.phase"}
        assert refused - names == set()
        records.append(changed)
    out = tmp_path / ("plain" if text == PLAIN else "evil")
    write_leaderboard(records, [Unreadable(tmp_path / text.replace("/", ""), text)], out)
    return out


@pytest.fixture
def plugin() -> Iterator[Callable[[str], Any]]:
    """`plugin(text)`: a context in which a method is installed that says `text` of itself."""

    def install(text: str) -> Any:
        class HostileConfig(Config):
            setting: str = Field(text, description=text)

        class Hostile(Method):
            name = "hostile"
            reference = text
            Config: ClassVar[type[Config]] = HostileConfig

            def prune(self, trial: Trial) -> None:
                """Nothing."""

        Hostile.__doc__ = text
        return registered("bench.methods", "bench.methods", Method, Hostile)

    return install  # type: ignore[return-value]


def test_the_pages_differ_in_text_alone(
    make_record: MakeRecord,
    full_fields: FullFields,
    elements: Callable[[Path], Any],
    plugin: Callable[[str], Any],
    tmp_path: Path,
) -> None:
    found = {}
    for text in (PLAIN, EVIL):
        with plugin(text):
            found[text] = folder(tmp_path, make_record, full_fields, text)
    names = sorted(path.name for path in found[PLAIN].iterdir())
    assert names == sorted(path.name for path in found[EVIL].iterdir())
    assert {"run-a0.html", "run-f.html", "track-digits.html", "method-l1.html", "method-hostile.html"} <= set(names)
    for name in (name for name in names if name.endswith(".html")):
        plain, evil = (elements(found[text] / name) for text in (PLAIN, EVIL))
        codes = name == "method-hostile.html"  # a docstring's backticks are code
        if codes:
            evil.tags = [each for each in evil.tags if each != ("code", {})]
            plain.tags = [each for each in plain.tags if each != ("code", {})]
        assert evil.shape == plain.shape, name
        assert not any(tag == "img" or key.startswith("on") for tag, keys in evil.tags for key in keys), name
        assert len(evil.scripts) == len(plain.scripts)
    for name in ("run-a0.html", "run-f.html", "track-digits.html", "method-hostile.html", "index.html"):
        shown = " ".join(elements(found[EVIL] / name).texts)
        assert "window.hacked=1" in shown, name
        assert "{{ 7 * 7 }}" in shown, name


def test_plotly_is_given_no_markup(
    make_record: MakeRecord, full_fields: FullFields, figures: Callable[[Path], Any], tmp_path: Path
) -> None:
    out = folder(tmp_path, make_record, full_fields, EVIL)
    said = []
    for page in out.glob("*.html"):
        for figure in figures(page):
            texts = [_at(figure, path) for path in strings(figure)]
            said += [text for text in texts if "hacked" in text]
            for text in texts:
                assert "<" not in text.replace("<br>", "").replace("<extra></extra>", ""), text
    assert said  # labels of variants and names of logged values


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
