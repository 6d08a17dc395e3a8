"""Records: round trip, and what is said of a file that is none."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import StoreError
from bench.records.lookup import committed_results
from bench.records.record import Record, parse_record, results_sha256


def test_a_record_comes_back_from_its_json_as_it_was(whole_record: Record) -> None:
    assert parse_record(whole_record.to_json().encode(), "here") == whole_record


def test_the_version_is_called_schema_in_the_file(whole_record: Record) -> None:
    assert json.loads(whole_record.to_json())["schema"] == 2


def test_a_record_of_schema_1_is_read_and_printed_as_what_it_is() -> None:
    path = sorted(committed_results().glob("*/record.json"))[0]
    content = json.loads(path.read_bytes())
    assert content["schema"] == 1
    record = parse_record(path.read_bytes(), "here")
    printed = json.loads(record.to_json())
    new = {"search", "tries", "wall_seconds", "results_sha256"}
    assert not new & printed.keys() and "log_loss_test" not in printed["dense"]
    assert {name: printed[name] for name in content} == {
        name: {**printed[name], **value} if isinstance(value, dict) else value for name, value in content.items()
    }
    assert (record.search, record.tries, record.results_sha256) == (None, None, None)


def test_the_hash_over_the_results_follows_every_result_and_nothing_else(whole_record: Record) -> None:
    fields = json.loads(whole_record.to_json())
    before = results_sha256(whole_record)
    for edit in (
        {"status": "missed-target"},
        {"pruned": {**fields["pruned"], "top1_test": 0.5}},
        {"pruned": {**fields["pruned"], "log_loss_test": 0.5}},
        {"layers": []},
        {"search": {"episodes": 3}},
        {"curve": []},
    ):
        assert results_sha256(Record.model_validate({**fields, **edit})) != before
    for edit in ({"seed": 7}, {"manifest": {}}, {"tries": 3}, {"wall_seconds": {"total": 3.0}}):
        assert results_sha256(Record.model_validate({**fields, **edit})) == before


@pytest.mark.parametrize(("unit", "spent"), [("dense_epochs", 0.5), ("device_seconds", 2.5)])
def test_what_was_spent_is_in_the_budgets_unit(whole_record: Record, unit: str, spent: float) -> None:
    fields = whole_record.model_dump(by_alias=True)
    fields["budget"]["unit"] = unit
    assert Record.model_validate(fields).spent == spent


@pytest.mark.parametrize("more", [{}, {"a_field_of_tomorrow": 1}])
def test_a_record_of_another_schema_is_refused_as_that_whatever_else_it_holds(
    whole_record: Record, more: dict[str, Any]
) -> None:
    fields = json.loads(whole_record.to_json()) | {"schema": 3} | more
    with pytest.raises(
        StoreError, match=r"record here: schema 3, but this version of bench reads schemas 1 and 2. Run it"
    ):
        parse_record(json.dumps(fields).encode(), "here")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("pruned", "top1_test"), 1.5, r"pruned.top1_test: .*\(given: 1.5\)"),
        (("seed",), -1, r"seed: .*\(given: -1\)"),
        (("status",), "fine", r"status: .*'missed-target'.*\(given: 'fine'\)"),
        (("run_id",), "../escape", r"run_id: .*\(given: '../escape'\)"),
        (("surprise",), 1, "surprise: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(
    whole_record: Record, path: tuple[str, ...], value: object, said: str
) -> None:
    fields = json.loads(whole_record.to_json())
    inner = fields
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(StoreError, match=said):
        parse_record(json.dumps(fields).encode(), "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_record_with_anything_in_any_place_is_read_or_refused_and_never_crashes(
    whole_record: Record, data: st.DataObject
) -> None:
    fields = json.loads(whole_record.to_json())
    *way, last = data.draw(st.sampled_from(_places(fields)[1:]))
    inner = fields
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(JSON)
    with contextlib.suppress(StoreError):
        parse_record(json.dumps(fields).encode(), "here")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), noise=st.binary(max_size=6))
def test_a_record_with_damaged_bytes_is_read_or_refused_and_never_crashes(
    whole_record: Record, place: float, noise: bytes
) -> None:
    content = whole_record.to_json().encode()
    cut = int(place * len(content))
    with contextlib.suppress(StoreError):
        parse_record(content[:cut] + noise + content[cut + len(noise) :], "here")
    with contextlib.suppress(StoreError):
        parse_record(content[:cut], "here")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"[" * 100_000, b'{"schema": 1}', b'{"schema": "x"}', b"\xff"]
)
def test_what_is_no_record_at_all_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(StoreError, match="record here: "):
        parse_record(content, "here")
