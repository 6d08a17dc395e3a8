"""Killed runs: whatever a SIGKILL interrupts, the same command goes on to the same network and the same ledger."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.records.record import Record
from bench.records.store import read_records

SEARCHER = '''
import torch
from bench import BudgetSpent, Hook, Method, Trial


class Counting(Hook):
    """Remembers the loss of early images, and draws from the method's generator."""

    def __init__(self, rng):
        self.rng, self.steps, self.sums = rng, 0, torch.zeros(3)

    def after_step(self, step):
        self.steps += 1
        self.sums[self.steps % 3] += step.images.mean() * torch.rand((), generator=self.rng)

    def state_dict(self):
        return {"steps": self.steps, "sums": self.sums}

    def load_state_dict(self, state):
        self.steps, self.sums = state["steps"], state["sums"].clone()


class Searcher(Method):
    """Tries channels by activations and by evaluations until its share is spent, training in between."""

    name = "searcher"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        hook = Counting(trial.rng)
        loss = lambda network, outputs, labels: torch.nn.functional.cross_entropy(  # noqa: E731
            outputs * (1 + 0.01 * float(hook.sums.sum())), labels
        )
        trial.train(epochs=0.4, hooks=[hook], loss=loss)
        seen = trial.probe(lambda outputs: {name: out.abs().mean((0, 2, 3)) for name, out in outputs.items()}, 100)
        best, keep = -1.0, trial.surgery.fit()
        try:
            for _ in range(50):
                ranking = {group.name: seen[group.layers[0]] * torch.rand(group.width, generator=trial.rng)
                           for group in trial.surgery.groups}
                tried = trial.surgery.fit(ranking)
                with trial.surgery.masked(tried):
                    top1 = trial.evaluate(images=100).top1
                trial.log(top1=top1)
                if top1 > best:
                    best, keep = top1, tried
        except BudgetSpent:
            pass
        half = {name: torch.arange(group.width)[: -(len(kept) // 2) or None]
                for (name, kept), group in zip(keep.items(), trial.surgery.groups)}
        trial.train(epochs=0.4, hooks=[hook], loss=loss)
        trial.surgery.remove(half)
        trial.surgery.remove(trial.surgery.fit())
        trial.log(steps=hook.steps)
'''

KILLS: dict[str, list[tuple[str, int]]] = {
    "hbfp": [
        ("in the middle of a file", 1), ("in a step", 9), ("before a rename", 12), ("after a rename", 30),
        ("between calls", 1), ("in a step", 4), ("in the middle of a line", 1), ("after a line", 1),
        ("before a rename", 3), ("in an evaluation", 1), ("before a file goes", 9),
    ],
    "l1": [("in a step", 5), ("in the middle of a file", 11), ("in the middle of a line", 1), ("before a rename", 2)],
    "random": [("after a line", 1), ("in a step", 17), ("after a rename", 25), ("before the journal goes", 1)],
    "scratch": [("between calls", 2), ("in a step", 33)],
    "olmp": [("in a search", 30), ("in a step", 3), ("in a search", 70), ("after a line", 1)],
    "magnitude": [("in a step", 4), ("in the middle of a file", 4)],
    "dense": [("in a step", 1), ("in an evaluation", 1), ("after a line", 1), ("before the journal goes", 1)],
    "searcher": [
        ("in a step", 6), ("after a line", 1), ("in an evaluation", 4), ("in the middle of a line", 1),
        ("between calls", 12), ("in an evaluation", 3), ("in a step", 3), ("in the middle of a file", 3),
        ("after a line", 2), ("in a step", 12),
    ],
}  # fmt: skip


NIGHTLY = ("l1", "magnitude", "random")
"""They repeat what `hbfp` and `olmp` prove: removed channels, and masks."""
METHODS = pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.nightly] * (name in NIGHTLY)) for name in KILLS]
)
Killer = Callable[[dict[str, Any]], list[Any]]


@dataclass
class Told:
    """What came of one method: the record of an undisturbed run, and how the killed one went."""

    undisturbed: Record
    resumed: Record
    ends: list[Any]
    folder: Path


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    """Runs a case through `killer.py`, with the searcher installed and a checkpoint after every step."""
    folder = tmp_path_factory.mktemp("killer")
    about = folder / "searcher-1.0.dist-info"
    about.mkdir()
    (folder / "searcher_toy.py").write_text(SEARCHER)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: searcher\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\nsearcher = searcher_toy\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "BENCH_"))}
    environ |= {"PYTHONPATH": str(folder), "HOME": str(folder), "BENCH_CHECKPOINT_SECONDS": "0"}
    command = [sys.executable, str(Path(__file__).with_name("killer.py"))]
    process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def go(case: dict[str, Any]) -> list[Any]:
        process.stdin.write(json.dumps(case) + "\n")
        process.stdin.flush()
        return list(json.loads(process.stdout.readline()))

    yield go
    process.communicate(timeout=60)


def words(method: str, track: Path) -> list[str]:
    targets = {
        "dense": [],
        "olmp": ["--target", "params=0.1", "--set", "batch=10", "--set", "searches=4"],
        "magnitude": ["--target", "params=0.1"],
    }
    target = targets.get(method, ["--target", "macs=0.25"])
    return [
        "run",
        "--method",
        method,
        "--track",
        str(track),
        "--budget",
        "4ep",
        "--wandb",
        "off",
        "--executor",
        "inline",
        *target,
    ]


@pytest.fixture(scope="module")
def told(killer: Killer, smoke_track: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    """What came of a method; each is run and killed when it is first asked for."""
    calm, rough = tmp_path_factory.mktemp("calm"), tmp_path_factory.mktemp("rough")
    track = tmp_path_factory.mktemp("track") / "smoke.toml"
    text = smoke_track.read_text().replace("images = 800", "images = 200").replace("batch_size = 32", "batch_size = 64")
    before, finetune, after = text.partition("[finetune]\nlearning_rate = 0.0")
    track.write_text(f"{before}{finetune}0{after}")  # a tenth: what the searcher keeps is no good start

    @cache
    def of(method: str) -> Told:
        ends = killer({"words": words(method, track), "store": str(rough), "kills": KILLS[method]})
        killer({"words": words(method, track), "store": str(calm), "kills": []})
        undisturbed, resumed = (
            next(record for record in read_records(store)[0] if record.method == method) for store in (calm, rough)
        )
        return Told(undisturbed, resumed, ends, rough / resumed.run_id)

    return of


def spent(record: Record) -> dict[str, tuple[int, ...]]:
    return {phase: (s.steps, s.images_forward, s.images_trained, s.macs) for phase, s in record.ledger.items()}


@pytest.mark.xdist_group("kill")  # one worker: the fixture that kills is made once
@pytest.mark.slow
@METHODS
def test_a_run_killed_anywhere_ends_with_the_network_the_ledger_and_the_curve_of_an_undisturbed_one(
    told: Callable[[str], Told], method: str
) -> None:
    one, other = told(method).undisturbed, told(method).resumed
    assert one.pruned is not None, one.error
    assert other.pruned is not None
    assert one.dense is not None
    assert other.dense is not None
    assert (other.status, other.error) == (one.status, None)
    assert other.dense.weights_sha256 == one.dense.weights_sha256
    assert other.pruned.weights_sha256 == one.pruned.weights_sha256
    assert spent(other) == spent(one)
    assert other.curve == one.curve
    assert other.pruned.correct_test == one.pruned.correct_test


@pytest.mark.xdist_group("kill")  # one worker: the fixture that kills is made once
@pytest.mark.slow
@METHODS
def test_a_killed_run_has_no_record_before_its_end_and_no_journal_after_it(
    told: Callable[[str], Told], method: str
) -> None:
    *killed, last = told(method).ends
    name = told(method).folder.name
    assert [event for event, _, _ in killed] == [event for event, _ in KILLS[method]]
    assert [event for event, _, records in killed if name in records] == [
        event for event, _ in KILLS[method] if event == "before the journal goes"
    ]
    assert last[1] == 0
    assert sorted(path.name for path in told(method).folder.iterdir()) == ["network.safetensors", "record.json"]


def test_over_all_methods_there_are_twenty_kills_and_more_at_every_kind_of_event() -> None:
    every_day = [kills for method, kills in KILLS.items() if method not in NIGHTLY]
    assert sum(len(kills) for kills in every_day) >= 20
    assert len({event for kills in every_day for event, _ in kills}) == 11
