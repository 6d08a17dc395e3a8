"""Records that are damaged, old or hostile: each is refused by name, and the page is built from the others."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError, StoreError
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.site import write_leaderboard
from bench.records.lookup import find_record
from bench.records.record import Record, parse_record
from bench.records.store import Store, read_records

OLD = Path(__file__).with_name("record-schema-0.json")


@pytest.fixture
def store(tmp_path: Path, whole_record: Record) -> Store:
    """A store with one good record."""
    store = Store(tmp_path / "runs")
    store.write(whole_record)
    return store


def put(store: Store, name: str, content: bytes) -> Path:
    path = store.folder(name) / "record.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_record_of_an_older_schema_is_refused_with_what_to_do() -> None:
    with pytest.raises(StoreError, match=r"schema 0, but this version of bench reads schemas 1 and 2\. Run it again"):
        parse_record(OLD.read_bytes(), str(OLD))


def test_the_page_is_built_without_what_cannot_be_read_and_lists_it(
    store: Store, whole_record: Record, tmp_path: Path
) -> None:
    text = whole_record.to_json()
    stolen = whole_record.model_copy(update={"method": "impostor"}).to_json()
    put(store, "l1-smoke-macs0.5-s0-0a1b2c3d4e5f", OLD.read_bytes())
    put(store, "l1-truncated-111111111111", text[: len(text) // 2].encode())
    put(store, "l1-stolen-222222222222", stolen.encode())
    put(store, "l1-escape-333333333333", text.replace(whole_record.run_id, "../../escape").encode())
    put(store, "l1-empty-444444444444", b"")
    put(store, "l1-pickle-555555555555", b"cposix\nsystem\n(S'true'\ntR.")
    (store.folder("l1-folder-666666666666") / "record.json").mkdir(parents=True)
    records, unreadable = read_records(store.root)
    assert records == [whole_record]
    assert len(unreadable) == 7
    page = write_leaderboard(records, unreadable, tmp_path / "page").read_text()
    for each in unreadable:
        assert each.path.parent.name in page
    assert "schema 0, but this version of bench reads schemas 1 and 2" in page
    assert "lies in the folder of" in page
    assert "impostor" not in "".join(path.read_text() for path in (tmp_path / "page").glob("track-*.html"))
    assert str(tmp_path) not in page


@pytest.mark.parametrize("name", ["../l1", "..", "/etc/passwd", "a/b", ".hidden", "a\x00b", "a\nb", "", "x" * 300])
def test_a_run_id_that_is_no_name_of_a_folder_is_refused(whole_record: Record, name: str) -> None:
    fields = json.loads(whole_record.to_json()) | {"run_id": name}
    with pytest.raises(StoreError, match="record here: run_id: "):
        parse_record(json.dumps(fields).encode(), "here")


def test_a_plugins_error_of_any_length_and_any_characters_fits_into_a_record(whole_record: Record) -> None:
    text = "x" * 1_000_000 + "ValueError: \udc80 is wrong"
    record = Record.model_validate({**whole_record.model_dump(by_alias=True), "status": "failed", "error": text})
    assert record.error is not None
    assert len(record.error) == 200_000
    assert record.error.endswith(r"ValueError: \udc80 is wrong")
    assert parse_record(record.to_json().encode(), "here") == record


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


HOSTILE = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([10**400, -(10**400), 1e308, -1e308, 2**63 - 1, 2**63, deep(60), "x" * 100_000])
    | st.sampled_from(["../../x", "<script>", "macs=1e-320", "auto", "\x00", "{{ 1 }}", math.nan])
    | st.dictionaries(st.text(max_size=8), st.integers(), max_size=2)
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_record_holds_it_is_refused_or_the_board_is_made_with_it(
    whole_record: Record, data: st.DataObject
) -> None:
    records = [whole_record]
    for number in range(2):
        fields = json.loads(whole_record.to_json()) | {"run_id": f"other-{number}", "seed": 10 + number}
        for *way, last in data.draw(st.lists(st.sampled_from(places(fields)[1:]), min_size=1, max_size=2)):
            inner: Any = fields
            with contextlib.suppress(KeyError, TypeError, IndexError):
                for key in way:
                    inner = inner[key]
                inner[last] = data.draw(HOSTILE)
        with contextlib.suppress(StoreError):
            records.append(parse_record(json.dumps(fields).encode(), "here"))
    board = summarise(records)
    assert sum(len(track.tables) + len(track.left_out) for track in board.tracks) >= 1
    for record in records:
        assert parse_record(record.to_json().encode(), "again").run_id == record.run_id


@pytest.mark.parametrize("value", [10**400, deep(60), "<script>alert(1)</script>", "x" * 10_000, math.nan])
def test_a_page_is_drawn_with_hostile_settings_and_fields(whole_record: Record, tmp_path: Path, value: Any) -> None:
    fields = json.loads(whole_record.to_json()) | {"config": {"a": value}, "left_out": {"b": str(value)[:100]}}
    fields["manifest"] = {"command": value, "device_class": value, "method_sha256": value}
    fields["track_fields"] |= {"summary": value, "tolerance": value, "floor": value, "ranked": value}
    record = parse_record(json.dumps(fields).encode(), "here")
    other = whole_record.model_copy(update={"run_id": "l1-other", "seed": 4})
    page = write_leaderboard([record, other], [], tmp_path)
    texts = [path.read_text() for path in page.parent.glob("*.html")]
    assert not any("<script>alert" in text for text in texts)


def test_reading_a_store_never_raises_anything_but_our_errors(store: Store) -> None:
    (store.root / "wandb").mkdir()
    (store.root / "record.json").write_text("{}")
    (store.root / "loop").symlink_to(store.root)
    records, unreadable = read_records(store.root)
    assert (len(records), len(unreadable)) == (1, 1)
    with pytest.raises(BenchError):
        find_record("../runs", store.root)
