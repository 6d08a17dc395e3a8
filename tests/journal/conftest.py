"""Trials with a journal, and a way to kill them in the middle of a training call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.journal.files import FileJournal
from bench.training.trainer import Trainer
from bench.trial.phases import calls_of
from bench.trial.trial import Trial


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """`with killed_at(7): ...` leaves the block as its seventh training step begins."""

    @contextmanager
    def at(number: int) -> Iterator[None]:
        real, seen = Trainer._step, 0

        def step(*arguments: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                raise Killed
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", step)
            with pytest.raises(Killed):
                yield

    return at


@pytest.fixture
def journaled(
    make_trial: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Trial]:
    """`journaled()`: a new process's trial with the journal in `tmp_path/journal`, a checkpoint after every step."""
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", "0")

    def make(head: dict[str, Any] | None = None, **options: Any) -> Trial:
        trial = make_trial(**options)
        calls_of(trial).journal = FileJournal(tmp_path / "journal", head or {"code": "a"})
        return trial

    return make
