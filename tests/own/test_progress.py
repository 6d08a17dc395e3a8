"""What a notebook and a terminal show while runs go on."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from bench.own.notebook import progress
from bench.own.notebook.progress import LiveProgress

JOB: Any = SimpleNamespace(label="l1 <b> macs=0.5 seed 0")


class Display:
    """IPython's display, and the handle that it gives."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def __call__(self, content: dict[str, str], **_words: Any) -> "Display":
        self.update(content)
        return self

    def update(self, content: dict[str, str], **_words: Any) -> None:
        self.shown.append(content)


def test_a_notebook_has_a_bar_a_run_and_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    display = Display()
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    shown = LiveProgress(2)
    shown.update(JOB, "finetune", 0.25)
    html = display.shown[-1]["text/html"]
    assert "<progress value='0.250'></progress> l1 &lt;b&gt; macs=0.5 seed 0: finetune" in html
    assert "0 of 2 runs" in html
    shown.finished(JOB, None)
    html = display.shown[-1]["text/html"]
    assert "<div>l1 &lt;b&gt; macs=0.5 seed 0: no record</div>" in html and "<progress" not in html
    assert "1 of 2 runs" in html
    shown.close()
    assert display.shown[-1]["text/html"] == ""


def test_a_terminal_has_a_line_that_changes_and_one_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown = LiveProgress(1)
    shown.update(JOB, "prune", 0.5)
    assert "[0/1] l1 <b> macs=0.5 seed 0: prune ##########.......... 50%, 0 s" in capsys.readouterr().err
    shown.finished(JOB, None)
    shown.close()
    said = capsys.readouterr().err.split("\r\x1b[2K")
    assert said[1] == "l1 <b> macs=0.5 seed 0: no record\n"
    assert said[-1] == ""


def test_elsewhere_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown = LiveProgress(1)
    shown.update(JOB, "prune", 0.5)
    shown.finished(JOB, None)
    shown.close()
    assert capsys.readouterr().err == ""
