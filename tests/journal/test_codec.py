"""What a journal writes down comes back as it was, bit by bit; what it cannot write down is refused at once."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import StoreError
from bench.journal.codec import decode, encode, read_state, write_state
from bench.journal.protocol import State
from bench.measure.accuracy import Accuracy
from bench.training.hooks import Epoch, History, Observation

DTYPES = (
    torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip


def through_json(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


def same_bits(one: Tensor, other: Tensor) -> bool:
    bits = [each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other)]
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*bits)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4, 5)], ids=str)
def test_a_tensor_comes_back_bit_by_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randint(0, 2, shape).to(dtype)
    assert same_bits(through_json(tensor), tensor)


def test_not_a_number_infinity_and_minus_zero_are_kept() -> None:
    tensor = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    assert same_bits(through_json(tensor), tensor)
    assert math.isnan(through_json(float("nan")))
    assert through_json([float("-inf"), 0.1 + 0.2]) == [float("-inf"), 0.1 + 0.2]


def test_a_tensor_with_other_strides_or_a_gradient_comes_back_with_its_values() -> None:
    tensor = torch.randn(2, 3, 4, 5, requires_grad=True).to(memory_format=torch.channels_last)
    assert same_bits(through_json(tensor), tensor.detach())


def test_histories_and_accuracies_come_back_whole() -> None:
    seen = Observation(0.5, {"norms": {"conv1": torch.arange(3.0)}})
    history = History((Epoch(0.5, 1.25, 0.01), Epoch(1.0, 0.75, 0.0)), (seen,))
    back = through_json(history)
    assert [(e.epochs, e.train_loss, e.learning_rate) for e in back.epochs] == [(0.5, 1.25, 0.01), (1.0, 0.75, 0.0)]
    assert back.observations[0].epochs == 0.5
    assert same_bits(back.observations[0].observed["norms"]["conv1"], torch.arange(3.0))
    assert through_json(Accuracy(0.9, None, 0.25, 100)) == Accuracy(0.9, None, 0.25, 100)


def test_nested_values_come_back_with_tuples_as_lists() -> None:
    value = {"a": [1, {"b": (True, None, "text")}], "t": torch.ones(2)}
    back = through_json(value)
    assert back["a"] == [1, {"b": [True, None, "text"]}]
    assert same_bits(back["t"], torch.ones(2))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, "a set cannot be journaled"),
        (object(), "a object cannot be journaled"),
        ({1: "a"}, "keys must be texts"),
        ({"$tensor": 1}, "keys must be texts that do not begin with"),
        ([{"a": lambda: 0}], "a function cannot be journaled"),
        (torch.eye(2).to_sparse(), "sparse_coo, cannot be journaled"),
        (torch.ones(1).to(torch.float8_e4m3fn), "float8_e4m3fn, .* cannot be journaled"),
    ],
    ids=["set", "object", "number as a key", "mark as a key", "function", "sparse", "float8"],
)
def test_what_cannot_be_written_down_is_refused_with_its_type(value: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        encode(value)


@pytest.mark.parametrize(
    "value",
    [
        {"$pickle": "gASV"},
        {"$tensor": ["float32", [1], "gASV"]},
        {"$tensor": ["float32", [10**400], ""]},
        {"$tensor": ["float32", [2**40, 2**40, 0.5], ""]},
        {"$tensor": ["float32", [-1, -1], "AAAAAA=="]},
        {"$tensor": ["object", [1], "AAAAAA=="]},
        {"$tensor": [["float32"], [1], "AAAAAA=="]},
        {"$tensor": ["float32", 1, "AAAAAA=="]},
        {"$tensor": 7},
        {"$accuracy": ["high", None, 0.1, 5]},
        {"$accuracy": [1, 2, 3]},
        {"$history": [[[1, 2, 3, 4]], []]},
        {"$history": [[], [[1, "seen"]]]},
        {"$history": [[], [[1, {"observer": [1]}]]]},
        {"$history": [[["1", 2, 3]], []]},
        {"$history": {"a": 1}},
        {"$tensor": ["bool", [0], ""], "$history": [[], []]},
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_encode_never_writes_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"is not as it was written|unknown mark|Only base64|padding|Invalid base64"):
        decode(value)


def test_a_state_comes_back_from_its_file(tmp_path: Path) -> None:
    shared = torch.randn(4, 3)
    tensors = {str(dtype): torch.ones(2, 3).to(dtype) for dtype in DTYPES if not dtype.is_complex}
    tensors |= {"view": shared[:2], "all": shared, "none": torch.ones(0), "one": torch.tensor(2.0)}
    write_state(tmp_path / "state", State(tensors, {"a": [1, Accuracy(1.0, 1.0, 0.0, 3)]}))
    back = read_state(tmp_path / "state")
    assert back.values == {"a": [1, Accuracy(1.0, 1.0, 0.0, 3)]}
    assert back.tensors.keys() == tensors.keys()
    assert all(same_bits(back.tensors[name], tensors[name]) for name in tensors)
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["$tensor", "$history", "$accuracy", "$x", "a"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(value=JSON)
def test_any_json_is_decoded_or_refused_as_a_value_error(value: Any) -> None:
    with suppress(ValueError):
        decode(value)


@settings(max_examples=80, deadline=None)
@given(place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=9), cut=st.booleans())
def test_a_state_file_with_damaged_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: float, noise: bytes, cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    write_state(path, State({"a": torch.ones(3), "b": torch.ones(2, 2, dtype=torch.int64)}, {"x": {"y": [1, "z"]}}))
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + noise + (b"" if cut else content[at + len(noise) :]))
    with suppress(StoreError):
        read_state(path)
