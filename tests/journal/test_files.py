"""The journal's files: calls that are kept and replayed, and journals that do not fit or are damaged."""

import json
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError, BudgetSpent, SurgeryError
from bench.journal.files import FileJournal, JournalRefused
from bench.journal.protocol import Call
from bench.measure.network import tensors_sha256
from bench.trial.phases import calls_of
from bench.trial.trial import Trial

Journaled = Callable[..., Trial]
AFRESH = "To start it afresh, delete "


def method(trial: Trial) -> list[Any]:
    """A method of seven calls, one of which fails; what it saw and what it left."""
    seen: list[Any] = [trial.evaluate(images=8)]
    seen.append(trial.train(epochs=1.0).epochs[-1].train_loss)
    with suppress(BudgetSpent):
        while True:
            trial.probe(lambda outputs: {name: out.sum() for name, out in outputs.items()}, images=96)
    trial.surgery.remove(trial.surgery.fit())
    with pytest.raises(SurgeryError):
        trial.surgery.remove({"conv1": torch.tensor([99])})
    seen.append(trial.train(epochs=0.5).epochs[-1].train_loss)
    spent = {name: (p.steps, p.images_forward, p.macs) for name, p in trial.ledger.phases.items()}
    return [*seen, spent, calls_of(trial).curve, tensors_sha256(trial.network.state_dict())]


def test_a_replayed_method_sees_and_leaves_the_same_and_runs_nothing(
    journaled: Journaled, make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, first = method(make_trial()), method(journaled())
    assert first == plain
    monkeypatch.setattr("bench.trial.training.Training.run", None)
    monkeypatch.setattr("bench.trial.passes.measure_accuracy", None)
    again = journaled()
    assert method(again) == plain
    assert isinstance(calls_of(again).journal, FileJournal)
    assert calls_of(again).journal.replayed == len(Path(calls_of(again).journal._calls).read_bytes().splitlines())


@pytest.mark.parametrize("calls", range(1, 12, 2))
def test_whatever_number_of_calls_was_kept_the_rest_is_done_to_the_same_end(
    journaled: Journaled, make_trial: Callable[..., Trial], tmp_path: Path, calls: int
) -> None:
    expected = method(make_trial())
    # a kill leaves the optimiser of the last kept training: begin with a run that ends behind `calls` calls
    trial = journaled()
    real, number = calls_of(trial).journal.call, 0

    def counted(*arguments: Any) -> Any:
        nonlocal number
        number += 1
        if number > calls:
            raise KeyboardInterrupt
        return real(*arguments)

    calls_of(trial).journal.call = counted  # type: ignore[method-assign]
    try:
        method(trial)
    except KeyboardInterrupt:
        assert len((tmp_path / "journal/calls.jsonl").read_bytes().splitlines()) == calls
    assert method(journaled()) == expected


def test_a_value_comes_back_the_same_the_first_time_and_from_the_journal(journaled: Journaled) -> None:
    def probed(trial: Trial) -> dict[str, torch.Tensor]:
        return trial.probe(lambda outputs: {"a": outputs["conv1"].mean((0, 2, 3)), "b": torch.zeros(0)}, images=32)

    first, second = probed(journaled()), probed(journaled())
    assert first.keys() == second.keys() == {"a", "b"}
    assert all(torch.equal(first[name], second[name]) and first[name].is_cpu for name in first)
    assert first["a"].stride() == second["a"].stride()


def test_a_truncated_last_line_is_cut_off_and_its_call_done_again(journaled: Journaled, tmp_path: Path) -> None:
    method(journaled())
    calls = tmp_path / "journal" / "calls.jsonl"
    content = calls.read_bytes()
    last = content.splitlines(keepends=True)[-1]
    for cut in (1, len(last) // 2, len(last) - 3):
        calls.write_bytes(content[:-cut])
        trial = journaled()
        assert calls.read_bytes() == content[: -len(last)]
        assert isinstance(calls_of(trial).journal, FileJournal)
        assert calls_of(trial).journal._entries[-1]["name"] == "remove"


@pytest.mark.parametrize("number", [1, 3])
def test_a_damaged_line_in_the_middle_cuts_the_journal_there_which_is_said(
    journaled: Journaled, tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = method(journaled())
    calls = tmp_path / "journal" / "calls.jsonl"
    lines = calls.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b'"books"', b'"looks"')
    calls.write_bytes(b"".join(lines))
    again = journaled()
    assert "note: the journal is damaged, and the run goes on " in capsys.readouterr().err
    assert method(again) == expected


@pytest.mark.slow
@pytest.mark.parametrize("points", [5, pytest.param(20, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("zeros", [False, True], ids=["cut off", "zeros"])
def test_after_a_power_cut_in_any_file_at_any_point_the_run_ends_the_same(
    journaled: Journaled, tmp_path: Path, zeros: bool, points: int
) -> None:
    expected = method(journaled())
    folder, kept = tmp_path / "journal", tmp_path / "kept"
    shutil.copytree(folder, kept)
    names = sorted(path.name for path in kept.iterdir())
    assert {name.partition("-")[0] for name in names} >= {"head.json", "calls.jsonl", "network", "going"}
    for name in names:
        for point in range(points):
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
            content = (folder / name).read_bytes()
            whole = content[: len(content) * point // points]
            (folder / name).write_bytes(whole + b"\0" * (len(content) - len(whole)) if zeros else whole)
            assert method(journaled()) == expected, (name, point)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"method_sha256": "ab"}, {"method_sha256": "cd"}, "method_sha256: 'ab' then, 'cd' now"),
        ({"torch": "2.13"}, {"torch": "2.14"}, "torch: '2.13' then, '2.14' now"),
        (
            {"config": {"pairs": 0.3}},
            {"config": {"pairs": 0.4}},
            r"config: \{'pairs': 0.3\} then, \{'pairs': 0.4\} now",
        ),
        ({"old": 1}, {"new": 2}, "new: None then, 2 now; old: 1 then, None now"),
    ],
)
def test_a_journal_of_other_code_or_settings_is_refused_with_what_changed(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any], said: str
) -> None:
    FileJournal(tmp_path / "j", before)
    FileJournal(tmp_path / "j", before)
    with pytest.raises(JournalRefused, match=f"since this changed: {said}. {AFRESH}.*j\\."):
        FileJournal(tmp_path / "j", now)


def test_a_method_that_does_not_replay_is_refused_at_the_call_where_it_parted(journaled: Journaled) -> None:
    first = journaled()
    first.evaluate(images=8)
    first.evaluate(images=9)
    again = journaled()
    again.evaluate(images=8)
    with pytest.raises(
        JournalRefused,
        match=r"does not replay: call 1 was evaluate\(images=9 recalibrate=True\) before and is "
        r"evaluate\(images=10 recalibrate=True\) now. It depends on something that the trial does not give",
    ):
        again.evaluate(images=10)


@pytest.mark.parametrize(
    ("value", "said"), [({1, 2}, "a set cannot"), ({"$x": 1}, "keys must be"), ([object()], "a object cannot")]
)
def test_a_value_that_cannot_be_kept_is_refused_with_its_call_and_ends_the_run(
    journaled: Journaled, value: Any, said: str
) -> None:
    trial = journaled()
    with pytest.raises(BenchError, match=f"call 4, probe: its value cannot be kept: .*{said}"):
        calls_of(trial).journal.call(Call(4, "probe", ""), calls_of(trial).state, lambda: value)
    with pytest.raises(BenchError, match="the call before evaluate ended with BenchError"):
        trial.evaluate(images=8)


def test_a_method_cannot_go_on_after_an_error_that_would_not_be_replayed(journaled: Journaled) -> None:
    trial = journaled()

    def loss(*_: object) -> torch.Tensor:
        raise ValueError("my own way to stop early")

    with pytest.raises(ValueError, match="my own way"):
        trial.train(epochs=1.0, loss=loss)
    with pytest.raises(BenchError, match=r"the call before evaluate ended with ValueError: my own way .* only"):
        trial.evaluate(images=8)


def test_a_guard_violation_that_a_method_swallows_leaves_a_journal_that_can_be_read(journaled: Journaled) -> None:
    for _ in range(2):
        trial = journaled()
        trial.evaluate(images=8)
        with torch.no_grad():
            trial.network.conv1.weight.mul_(1.5)
        with pytest.raises(BenchError, match="changed outside the trial"):
            trial.evaluate(images=8)
        trial.evaluate(images=8)


# -- hostile journals ---------------------------------------------------------------------------------------------


def line(entry: Any) -> bytes:
    text = json.dumps(entry)
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = by
    return copy


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just(10**400)
    | st.just(deep(300)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["$tensor", "a"]), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return {}


def two_calls(trial: Trial) -> None:
    trial.evaluate(images=8)
    trial.train(epochs=0.5)
    trial.evaluate(images=8)
    trial.ledger.as_dict()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_journal_with_anything_in_any_place_is_replayed_or_refused(
    journaled: Journaled, tmp_path: Path, kept: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path / "journal"
    if not kept:
        two_calls(journaled())
        kept |= {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    entries = [json.loads(each.partition(b" ")[2]) for each in kept["calls.jsonl"].splitlines()]
    number = data.draw(st.integers(0, len(entries) - 1))
    path = data.draw(st.sampled_from(places(entries[number])[1:]))
    entries[number] = changed(entries[number], path, data.draw(JSON))
    (folder / "calls.jsonl").write_bytes(b"".join(map(line, entries)))
    with suppress(JournalRefused, BudgetSpent):  # it may say that the budget is spent
        two_calls(journaled())


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000,
     b'{"code": ' + b"1" * 5000 + b"}", b"cposix\nsystem\n(S'true'\ntR."],
    ids=lambda content: str(content[:20]),
)  # fmt: skip
def test_a_head_that_is_none_begins_the_journal_again(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "head.json").write_bytes(content)
    FileJournal(tmp_path / "journal", {"code": "a"})
    assert "note: the journal's head cannot be read" in capsys.readouterr().err
    assert json.loads((tmp_path / "journal" / "head.json").read_bytes()) == {"code": "a"}


@settings(max_examples=60, deadline=None)
@given(head=st.dictionaries(st.text(max_size=5), JSON, max_size=3), noise=st.binary(max_size=4), at=st.integers(0, 40))
def test_any_head_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, head: dict[str, Any], noise: bytes, at: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "heads"
    folder.mkdir(exist_ok=True)
    text = json.dumps(head).encode()
    (folder / "head.json").write_bytes(text[:at] + noise + text[at:])
    with suppress(JournalRefused):
        FileJournal(folder, {"code": "a"})


def test_a_line_longer_than_any_is_cut_off_and_not_waited_for(tmp_path: Path) -> None:
    FileJournal(tmp_path, {})
    entry = {"index": 10**300, "name": "x" * 1_000_000, "arguments": "", "value": 10**400}
    (tmp_path / "calls.jsonl").write_bytes(line(entry) + b"0" * 1_000_000 + b"\n")
    FileJournal(tmp_path, {})
    assert (tmp_path / "calls.jsonl").read_bytes() == line(entry)


def test_calls_that_are_a_folder_are_refused(tmp_path: Path) -> None:
    FileJournal(tmp_path, {})
    (tmp_path / "calls.jsonl").mkdir()
    with pytest.raises(JournalRefused, match=r"calls.jsonl cannot be read"):
        FileJournal(tmp_path, {})
