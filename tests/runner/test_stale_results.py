"""No result belongs to other code, weights or images than it says: a user's own network, edited in every way."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.checks.record.rerun import RerunResult, measure_again, run_again
from bench.cli.main import main
from bench.records.record import Record
from bench.records.store import Store, read_records
from bench.runner.forecast import overview
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace, execute

NET = '''"""A network."""
import torch
from torch import nn
from stale_blocks import activation


class Net(nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        """Logits."""
        x = activation(self.conv1(x)).relu()
        return self.fc(self.conv2(x).mean((2, 3)))
'''
BLOCKS = '''"""Blocks."""


def activation(x):
    return x  # nothing
'''
TRACK = """
summary = "A user's own."
floor = 0.0
tolerance = 0.3
threads = 1
targets = ["macs=0.5"]
{network}

[images]
source = "images"
size = [8, 8]
channels = 3
classes = ["dark", "light"]
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
streamed = {streamed}

[validation]
images = 6
{dense}
[finetune]
learning_rate = 0.05
batch_size = 8

[budget]
dense_epochs = 3
"""


@dataclass
class Own:
    """A folder with a track of a user's own."""

    folder: Path

    @property
    def workplace(self) -> Workplace:
        return Workplace(Store(self.folder / "runs"), self.folder / "none")

    def write(self, given: bool = False, streamed: bool = True) -> None:
        (self.folder / "net.py").write_text(NET)
        (self.folder / "stale_blocks.py").write_text(BLOCKS)
        draw = np.random.default_rng(0)
        for label, shade in (("dark", 60), ("light", 190)):
            (self.folder / "images" / label).mkdir(parents=True)
            for number in range(20):
                pixels = draw.integers(shade - 60, shade + 60, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(self.folder / "images" / label / f"{number:02}.png")
        network = '[network]\nsource = "net.py:Net"' + ('\nweights = "w.pt"' if given else "")
        dense = "" if given else "\n[dense]\nepochs = 1\nlearning_rate = 0.05\nbatch_size = 8\n"
        text = TRACK.format(network="", dense=dense, streamed=str(streamed).lower())
        (self.folder / "mine.toml").write_text(text.replace("[validation]", f"{network}\n\n[validation]"))
        if given:
            self.save_weights(0)

    def save_weights(self, seed: int) -> None:
        torch.manual_seed(seed)
        shapes = {"conv1": (6, 3, 3, 3), "conv2": (6, 6, 3, 3), "fc": (2, 6)}
        weights = {f"{name}.weight": 0.3 * torch.randn(shape) for name, shape in shapes.items()}
        weights |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
        torch.save(weights, self.folder / "w.pt")

    def afresh(self) -> None:
        """What a new process would have: none of the user's modules."""
        for name in [name for name in sys.modules if name.startswith(("stale_blocks", "_bench_own_"))]:
            del sys.modules[name]

    def run(self) -> Record:
        """`bench run --method l1 --track mine.toml`, in a new process as far as the user's modules go."""
        self.afresh()
        place = self.workplace
        (job,) = make_plan(RunRequest(("l1",), (str(self.folder / "mine.toml"),)), place.inputs)
        kept = place.store.read(job.spec.run_id)
        if kept is not None:
            return kept
        return execute(job, place)

    def notes(self) -> str:
        """What a plan says before it runs."""
        self.afresh()
        place = self.workplace
        jobs = make_plan(RunRequest(("l1",), (str(self.folder / "mine.toml"),)), place.inputs)
        return "\n".join(overview(jobs, place.store, read_records(place.store.root)[0], False).lines(1))

    def verify(self, record: Record, measure_only: bool = False) -> RerunResult:
        self.afresh()
        if measure_only:
            network = self.workplace.store.folder(record.run_id) / "network.safetensors"
            return measure_again(record, network, self.folder / "none")
        return run_again(record, self.folder / "none", lambda _phase, _share: None)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.001)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Own(tmp_path)
    yield made
    made.afresh()


def edit_network(own: Own) -> None:
    (own.folder / "net.py").write_text(NET.replace("relu()", "sigmoid()"))


def edit_module(own: Own) -> None:
    (own.folder / "stale_blocks.py").write_text(BLOCKS.replace("return x", "return 2 * x"))


def edit_image(own: Own) -> None:
    path = own.folder / "images" / "dark" / "03.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(path)


def delete_image(own: Own) -> None:
    (own.folder / "images" / "dark" / "03.png").unlink()


def add_image(own: Own) -> None:
    path = own.folder / "images" / "light"
    (path / "99.png").write_bytes((path / "03.png").read_bytes())


def move_image(own: Own) -> None:
    (own.folder / "images" / "dark" / "03.png").rename(own.folder / "images" / "light" / "98.png")


EDITS = [
    (edit_network, "network source (net.py)"),
    (edit_module, "network source (stale_blocks)"),
    (edit_image, "images"),
    (delete_image, "images"),
    (add_image, "images"),
    (move_image, "images"),
]


@pytest.mark.parametrize(("edit", "said"), EDITS, ids=[edit.__name__ for edit, _ in EDITS])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "in memory"])
def test_an_edit_gives_a_new_run_and_dense_network_and_verify_names_it(
    own: Own, edit: Callable[[Own], None], said: str, streamed: bool
) -> None:
    if not streamed and edit in (edit_network, edit_module, add_image, move_image):
        pytest.skip("does not depend on how images are read")
    own.write(streamed=streamed)
    first = own.run()
    assert first.status == "ok", first.error
    assert own.run() == first
    path = own.workplace.store.record_path(first.run_id)
    before = path.read_bytes()
    edit(own)
    assert f"1 run again, since this changed: {said}" in own.notes()
    assert f"1 dense network anew: {said} changed" in own.notes()
    second = own.run()
    assert second.status == "ok", second.error
    assert second.run_id != first.run_id
    assert second.manifest["dense_key"] != first.manifest["dense_key"]
    assert len(list(own.workplace.store.root.glob("dense/*/dense.json"))) == 2
    assert path.read_bytes() == before
    for measure_only in (False, True):
        found = own.verify(first, measure_only)
        assert (found.equal, found.changed) == (False, (said,))
        assert f"Changed since the record: {said}." in found.words()
    assert own.verify(second).words() == "equal (bitwise)"
    assert own.verify(second, measure_only=True).words() == "equal (bitwise)"


def test_the_dense_figure_is_of_the_network_as_it_is_now(own: Own) -> None:
    own.write()
    first = own.run()
    edit_network(own)
    second = own.run()
    assert first.dense is not None and second.dense is not None
    assert first.dense.weights_sha256 != second.dense.weights_sha256  # trained anew, not taken over
    assert first.curve[0].values != second.curve[0].values


def test_overwritten_weights_give_a_new_run_and_verify_names_them(own: Own) -> None:
    own.write(given=True)
    first = own.run()
    assert first.status == "ok", first.error
    own.save_weights(0)
    assert own.run() == first  # the same content again
    own.save_weights(1)
    assert "since this changed: weights that a file gives the network" in own.notes()
    second = own.run()
    assert second.run_id != first.run_id
    assert first.dense is not None and second.dense is not None
    assert second.dense.weights_sha256 != first.dense.weights_sha256
    found = own.verify(first)
    assert (found.equal, found.changed) == (False, ("weights that a file gives the network",))
    assert own.verify(first, measure_only=True).equal  # the pruned network is what it was
    assert own.verify(second).equal


def test_comments_docstrings_and_layout_change_no_id(own: Own) -> None:
    own.write()
    first = own.run()
    (own.folder / "net.py").write_text("# a comment\n" + NET.replace('"""Logits."""', '"""Outputs."""\n'))
    (own.folder / "stale_blocks.py").write_text(BLOCKS.replace("# nothing", "# something else"))
    assert own.run() == first
    assert own.verify(first).words() == "equal (bitwise)"
    assert len(list(own.workplace.store.root.glob("dense/*/dense.json"))) == 1


def test_an_edit_while_a_plan_is_carried_out_is_refused(own: Own) -> None:
    own.write()
    place = own.workplace
    (job,) = make_plan(RunRequest(("l1",), (str(own.folder / "mine.toml"),)), place.inputs)
    own.afresh()
    edit_module(own)
    with pytest.raises(Exception, match=r"network source \(stale_blocks\) changed while the plan was carried out"):
        execute(job, own.workplace)
    edit_image(own)
    (own.folder / "stale_blocks.py").write_text(BLOCKS)
    own.afresh()
    with pytest.raises(Exception, match="images changed while the plan was carried out. Give the command again"):
        execute(job, own.workplace)


def test_the_command_says_what_changed(own: Own, capfd: pytest.CaptureFixture[str]) -> None:
    own.write()
    words = ["run", "--method", "l1", "--track", str(own.folder / "mine.toml"), "--store", str(own.folder / "runs")]
    for _ in range(2):
        own.afresh()
        with pytest.raises(SystemExit) as end:
            main([*words, "--wandb", "off", "--data", str(own.folder)])
        assert end.value.code == 0
    said = capfd.readouterr().err
    assert said.count("done already: ok") == 1
    edit_network(own)
    own.afresh()
    with pytest.raises(SystemExit):
        main([*words, "--wandb", "off", "--data", str(own.folder)])
    said = capfd.readouterr().err
    assert "note: 1 run again, since this changed: network source (net.py)" in said
    assert "note: 1 dense network anew: network source (net.py) changed" in said
    assert "done already" not in said
    old = [path for path in own.workplace.store.root.glob("*/record.json") if json.loads(path.read_bytes())]
    assert len(old) == 2
