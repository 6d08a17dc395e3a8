"""Which runs share a table, how tables are told apart, and the bits of a record."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.leaderboard.board.comparable import protocol_of, start_of
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.columns import heading
from bench.leaderboard.stats.correct_bits import correct_bits, images_of
from bench.records.record import Record

MakeRecord = Callable[..., Record]
FIELDS = {"network": "lenet5", "threads": 1, "dense": {"epochs": 6, "learning_rate": 0.03}}


def manifest(**fields: Any) -> dict[str, Any]:
    return {"device_class": "cpu", "data_fingerprint": "aaaa", "precision": "float32", "threads": 1, **fields}


def headings(*records: Record) -> list[str]:
    return sorted(heading(table) for table in summarise(records).tracks[0].tables)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"manifest": manifest(data_fingerprint="bbbb")}, "data_fingerprint="),
        ({"manifest": manifest(precision="bfloat16")}, "precision="),
        ({"manifest": manifest(threads=2)}, "threads="),
        ({"track_fields": {**FIELDS, "dense": {"epochs": 7, "learning_rate": 0.03}}}, "dense.epochs="),
        ({"track_fields": {**FIELDS, "network": "lenet300"}}, "network="),
    ],
)
def test_another_protocol_is_another_table_that_says_so(
    make_record: MakeRecord, change: dict[str, Any], words: str
) -> None:
    plain = {"track_fields": FIELDS, "manifest": manifest()}
    both = headings(make_record(**plain), make_record(run_id="other", **{**plain, **change}))
    assert len(both) == 2
    assert both[0] != both[1]
    assert all(words in each for each in both)


def test_many_differing_fields_are_counted(make_record: MakeRecord) -> None:
    other = {"network": "vgg16", "threads": 2, "dense": {"epochs": 9, "learning_rate": 0.1}}
    both = headings(make_record(track_fields=FIELDS), make_record(run_id="other", track_fields=other))
    assert all(each.endswith("and 1 more field") for each in both)


def test_one_protocol_needs_no_words(make_record: MakeRecord) -> None:
    assert headings(make_record(manifest=manifest())) == ["Structured, 50 dense epochs, cpu"]


def test_the_command_and_the_processor_split_no_table(make_record: MakeRecord) -> None:
    one, two = (
        make_record(manifest=manifest(command=f"bench {word}", hardware={"processor": word}, dense_sha256=word))
        for word in ("a", "b")
    )
    assert protocol_of(one) == protocol_of(two)
    assert start_of(one) == (0, "a")
    assert start_of(two) == (0, "b")


def test_a_record_without_the_hash_is_known_by_its_dense_network(make_record: MakeRecord) -> None:
    assert start_of(make_record(seed=4)) == (4, "ab")


@pytest.mark.parametrize("images", [1, 7, 8, 400, 9_999])
def test_bits_tell_how_many_images_there_were(
    make_record: MakeRecord, with_bits: Callable[[Record, np.ndarray], Record], images: int
) -> None:
    right = np.random.default_rng(images).random(images) < 0.9
    right[0] = True
    pruned = with_bits(make_record(), right).pruned
    assert pruned
    assert images_of(pruned) == images
    found = correct_bits(pruned, images)
    assert found is not None
    assert found.astype(bool).tolist() == right.tolist()
    assert correct_bits(pruned, images + 8) is None


def test_bits_that_contradict_the_accuracy_tell_nothing(make_record: MakeRecord) -> None:
    pruned = make_record().pruned
    assert pruned
    assert images_of(pruned.model_copy(update={"correct_test": "//8=", "top1_test": 0.5})) is None
    assert images_of(pruned.model_copy(update={"correct_test": "//8=", "top1_test": 0.0})) is None
    assert images_of(pruned.model_copy(update={"correct_test": "not base64"})) is None
