"""Every command in the README and the documents works as it is typed, and every block of Python runs.

They are run in this process, in a folder that holds what a reader has by then: a store, a network of one's own with its
weights, images and track. `bench run` is planned (`--dry-run`) and nothing is trained; what stands for a reader's own
name (`RUN`, `DIR`, ...) is filled in. What is not run is in `NOT_RUN`, with the reason.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli.main import main
from bench.plugins.imported import imported

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "leaderboard" / "results"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))

# By how a command begins: why it is not run here.
NOT_RUN = {
    "python3 -m venv": "makes an environment: a test of the wheel does, and .ci/run",
    ". .venv/bin": "the same",
    "pip install": "installs: a test of the wheel does, and .ci/run",
    "bash .ci/": "runs these tests",
    "METHODS=l1": "runs .ci/regression",
    "pytest -q": "a test that `bench new method` writes: tests/cli/test_new_command.py runs it",
    "git ": "on a branch of the reader's",
    "cp -r": "copies",
    "python docs/findings.py": "tests/docs/test_findings.py runs it",
    "bench check smallest": "the method that the reader wrote; tests/checks runs the kit, on every method",
    "bench check hbfp": "minutes: tests/checks runs it",
    "bench run --method smallest": "the method that the reader wrote",
    "bench run --method mine": "the method that the reader wrote",
    "head=$(scontrol": "Slurm",
    "srun --nodes": "Slurm",
    "sleep": "Slurm",
}
# Added to commands that would take long, or not end; a later option counts.
ADDED = {
    "bench run": ["--dry-run"],
    "bench groups": ["--size", "32"],
    "bench leaderboard": ["--store-only"],
    "bench measure": ["--seconds", "0.01", "--batch", "1"],
    "bench export": ["--no-latency"],
}
SLOW = ("bench groups", "bench export", "bench measure", "bench check", "bench verify", "bench claims", "bench report")
WITHOUT_ACCOUNT = ("bench sync",)  # ends with 2, and says what to do

NETWORK = """
from torch import nn


class MyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 12, 3)
        self.last = nn.Linear(12, 2)

    def forward(self, images):
        return self.last(self.second(self.first(images).relu()).relu().mean((2, 3)))
"""


@cache
def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def commands(document: str) -> Iterator[str]:
    """The commands of the blocks: lines joined, comments and redirections off, `a && b` as two."""
    for block in blocks(document, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|(?<!&)&$", re.sub(r"(^|\s)#.*", "", line)):
                if command := " ".join(part.partition(">>")[0].split()):
                    yield re.sub("^srun bench", "bench", command)


ALL = [(document, command) for document in DOCUMENTS for command in dict.fromkeys(commands(document))]


def reason(command: str) -> str | None:
    """Why it is not run; None where it is."""
    if command.startswith("bench check") and "--results" in command and "smallest" not in command:
        return None
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


TYPED = sorted({command for _, command in ALL if reason(command) is None})


def test_the_documents_have_commands_and_each_reason_is_needed() -> None:
    assert len(TYPED) > 30
    assert [command for command in TYPED if not command.startswith("bench ")] == []
    unused = [start for start in NOT_RUN if not any(command.startswith(start) for _, command in ALL)]
    assert unused == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs` (digits' records, and two runs on one's own track), the track and what it is made from."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
        (folder / "my_net.py").write_text(NETWORK)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            torch.save(imported("my_net.py:MyNet", folder)().state_dict(), "my_net.pt")
        draw = np.random.default_rng(0)
        for label, name in enumerate(("dark", "light")):
            (folder / "images" / name).mkdir(parents=True)
            for number in range(30):
                pixels = draw.integers(100 * label, 100 * label + 100, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "images" / name / f"{number}.png")
        for source in RESULTS.glob("hbfp-digits-lenet5-*-s0-*"):
            shutil.copytree(source, folder / "runs" / source.name)
        shutil.copytree(folder / "runs", folder / "baseline")
        new = ["new", "track", "mine", "--network", "my_net.py:MyNet", "--weights", "my_net.pt", "--images", "images"]
        assert ends(new) == 0
        text = re.sub(r"^floor = .*", "floor = 0.0", Path("mine.toml").read_text(), flags=re.MULTILINE)
        Path("mine.toml").write_text(re.sub(r"^dense_epochs = .*", "dense_epochs = 1", text, flags=re.MULTILINE))
        run = ["run", "--track", "mine.toml", "--method", "l1,random", "--wandb", "off", "--executor", "inline"]
        assert ends(run) == 0
    return folder


def ends(words: list[str]) -> Any:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code or 0


@pytest.fixture
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as the present one; no account, no browser."""
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", lambda _address: True)
    return folder


def filled(command: str, folder: Path) -> list[str]:
    """The words, with what a reader has in place of the names that stand for it."""
    own = sorted(path.name for path in (folder / "runs").glob("*-mine-*"))
    values = {
        "DIR": "baseline",
        "FOLDER": "folder",
        "FILE...": str(next(RESULTS.glob("hbfp-digits-lenet5-macs0.5-s0-*"))),
        "~/data": os.environ.get("BENCH_TEST_DATA", ""),
    }
    if re.search(r"\b(mnist|cifar|olmp)", command) and "--dry-run" in [*ADDED.get(command[:9], ())]:
        if not values["~/data"]:
            pytest.skip("BENCH_TEST_DATA is not set: a plan looks at its images")
        command += " --data ~/data"
    words = []
    for word in shlex.split(command.replace("$SLURM_ARRAY_TASK_ID", "3").replace("$head", "head")):
        words.append(own.pop(0) if word == "RUN" else values.get(word, word))
    for start, more in ADDED.items():
        words += more if command.startswith(start) else []
    return words[1:]


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=[pytest.mark.slow] * each.startswith(SLOW)) for each in TYPED]
)
def test_a_command_of_the_documents_works(command: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if command.startswith("bench new track"):
        (here / "mine.toml").unlink()
    if "--store head" in command:
        shutil.copytree(here / "runs", here / "head")
    code, said = ends(filled(command, here)), capfd.readouterr()
    if command.startswith(WITHOUT_ACCOUNT):
        assert (code, "WANDB_API_KEY" in said.err) == (2, True)
    else:
        assert code == 0, f"{command}\n{said.out[-2000:]}\n{said.err[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if blocks(each, "python")])
def test_the_python_of_the_documents_runs(document: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
    net = imported("my_net.py:MyNet", here)()
    net.load_state_dict(torch.load("my_net.pt"))
    images = np.stack([np.asarray(Image.open(path)) for path in sorted(here.glob("images/*/*.png"))])
    labels = np.repeat([0, 1], 30)
    (run,) = (path.name for path in (here / "runs").glob("l1-mine-*"))
    names: dict[str, Any] = {
        "net": net,
        "network": imported("my_net.py:MyNet", here)(),
        "MyNet": imported("my_net.py:MyNet", here),
        "train_set": (images[::2], labels[::2]),
        "test_set": (images[1::2], labels[1::2]),
        "__name__": "reader",
    }
    for block in blocks(document, "python"):
        text = block.replace('"RUN"', repr(run)).replace("RUN/", f"{run}/").replace("(3, 48, 80)", "(3, 16, 16)")
        exec(compile(text, document, "exec"), names)
    if "result" in names:
        assert names["result"].record.pruned is not None
    if "Smallest" in names:
        assert names["Smallest"].name.startswith("smallest")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_a_sentence_are_there_with_their_options(document: str) -> None:
    import typer.main

    from bench.cli.main import app

    for text in re.findall(r"`bench ((?:\w[^`\n]*)?)`", (ROOT / document).read_text(encoding="utf-8")):
        command: Any = typer.main.get_command(app)
        for word in text.split():
            if word in getattr(command, "commands", {}):
                command = command.commands[word]
        options = {option for parameter in command.params for option in parameter.opts}
        assert not hasattr(command, "commands"), f"{document}: bench {text}"
        unknown = [word for word in text.split() if word.startswith("--") and word not in options]
        assert not unknown, f"{document}: bench {text}"
