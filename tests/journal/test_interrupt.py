"""Ctrl-C: once, and every run is kept where it is; twice, and all ends at once; the same command goes on either way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.journal import interrupt as stopping
from bench.records.store import read_records

TOYS = '''
import os
import time
from pathlib import Path
from bench import Hook, Method, Trial
from bench.journal import interrupt as stopping


class Waits(Hook):
    """At the third step, the first time, waits for Ctrl-C, and the second time for another one."""

    def after_step(self, step) -> None:
        folder = Path(os.environ["STOPPING_FOLDER"])
        mine = folder / f"{os.environ['STOPPING_ROUND']}-{os.getpid()}"
        if step.index != 2 or os.environ["STOPPING_ROUND"] == "none" or mine.exists():
            return
        mine.touch()
        until(stopping.requested)
        if os.environ["STOPPING_ROUND"] == "twice":
            (folder / f"heard-{os.getpid()}").touch()
            until(lambda: False)


def until(true) -> None:
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.01)


class Waiter(Method):
    """Trains and halves."""

    name = "waiter"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove(trial.surgery.fit())
        trial.train(epochs=0.5, hooks=[Waits()])
'''

Environment = dict[str, str]


# -- the signals themselves ---------------------------------------------------------------------------------------


def test_the_first_signal_is_a_request_and_its_message_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping.graceful(message="stopping"):
        assert not stopping.requested()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.requested()
    assert not stopping.requested()
    assert signal.getsignal(signal.SIGINT) is before
    assert capfd.readouterr().err == "stopping\n"


def test_the_second_signal_ends_the_process_and_its_workers_at_once(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "import multiprocessing, os, signal, time\n"
        "from bench.journal import interrupt as stopping\n"
        "def work():\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('fork').Process(target=work)\n"
        "    with stopping.graceful():\n"
        "        child.start()\n"
        "        print(child.pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        while not stopping.requested(): pass\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (130, "")
    assert gone(int(done.stdout))


# -- a whole command ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """With the waiter installed as another package's method."""
    folder = tmp_path_factory.mktemp("stopping")
    about = folder / "waiter-1.0.dist-info"
    about.mkdir()
    (folder / "waiter_toy.py").write_text(TOYS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: waiter\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\nwaiter = waiter_toy\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "BENCH_"))}
    return {**environ, "PYTHONPATH": str(folder), "HOME": str(folder), "COLUMNS": "200"}


class Command:
    """`bench run` of the waiter with some seeds, in one store."""

    def __init__(self, environment: Environment, folder: Path, track: Path, workers: int) -> None:
        self._environ = {**environment, "STOPPING_FOLDER": str(folder)}
        self._folder, self.workers = folder, workers
        self.store = folder / "runs"
        words = ["run", "--method", "waiter", "--track", str(track), "--target", "macs=0.5", "--budget", "3ep"]
        words += [word for seed in range(workers) for word in ("--seed", str(seed))]
        self._words = [sys.executable, "-m", "bench.cli", *words, "--wandb", "off", "--memory", "none", "--workers"]
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, which: str) -> subprocess.Popen[str]:
        """Starts it: `once` and `twice` wait for so many signals in the middle of training, `none` for none."""
        command = [*self._words, str(self.workers), "--store", str(self.store)]
        process = subprocess.Popen(
            command,
            cwd=self._folder,
            env={**self._environ, "STOPPING_ROUND": which},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def await_files(self, pattern: str) -> list[int]:
        """Waits until each worker has written its file; their process ids."""
        end = time.monotonic() + 100
        while len(found := list(self._folder.glob(f"{pattern}-*"))) < self.workers:
            assert time.monotonic() < end, f"no {pattern}"
            time.sleep(0.02)
        return [int(path.name.rpartition("-")[2]) for path in found]

    def end(self) -> None:
        """Nothing of it is left, whatever happened."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def calm(environment: Environment, smoke_track: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What undisturbed runs of both seeds give."""
    undisturbed = Command(environment, tmp_path_factory.mktemp("calm"), smoke_track, workers=2)
    try:
        _, err = undisturbed.start("none").communicate(timeout=200)
    finally:
        undisturbed.end()
    found = results(undisturbed.store)
    assert len(found) == 2, err
    return found


@pytest.fixture
def command(
    environment: Environment, smoke_track: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Command]:
    made = Command(environment, tmp_path, smoke_track, request.param)
    yield made
    made.end()


def press(process: subprocess.Popen[str]) -> None:
    """Ctrl-C at a terminal: the signal goes to every process of the group."""
    os.killpg(process.pid, signal.SIGINT)


def gone(pid: int) -> bool:
    """Whether a process has ended (it may not have been waited for by its new parent yet)."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def results(store: Path) -> dict[str, Any]:
    records, unreadable = read_records(store)
    assert not unreadable
    return {
        record.run_id: (
            record.status,
            record.pruned and record.pruned.weights_sha256,
            record.curve,
            {name: phase.model_dump(exclude={"device_seconds"}) for name, phase in record.ledger.items()},
        )
        for record in records
    }


WORKERS = pytest.mark.parametrize(
    "command", [2, pytest.param(1, marks=pytest.mark.nightly)], indirect=True, ids=["two workers", "one worker"]
)
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")


@pytest.mark.xdist_group("stopping")
@pytest.mark.slow
@needs_proc
@WORKERS
def test_stopped_once_and_twice_nothing_is_lost_and_the_same_command_ends_like_an_undisturbed_one(
    command: Command, calm: dict[str, Any]
) -> None:
    workers = command.workers
    process = command.start("once")
    pids = command.await_files("once")
    press(process)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert err.count("stopping: each run is kept where it is (Ctrl-C again stops at once)\n") == 1
    assert f"interrupted after 0 of {workers} runs; the same command goes on from here.\n" in err
    assert "Traceback" not in err
    assert "died" not in out + err
    assert all(gone(pid) for pid in pids)
    assert len(list(command.store.glob("*/journal/checkpoint.safetensors"))) == workers
    assert results(command.store) == {}

    process = command.start("none")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert f": {workers} interrupted and taken up, {workers} to run" in err
    assert not list(command.store.glob("*/journal"))
    ended = results(command.store)
    assert len(ended) == command.workers
    assert ended.items() <= calm.items()


@pytest.mark.xdist_group("stopping")
@pytest.mark.slow
@needs_proc
@WORKERS
def test_pressed_twice_all_ends_at_once_and_can_be_taken_up(command: Command, calm: dict[str, Any]) -> None:
    process = command.start("twice")
    pids = command.await_files("twice")
    press(process)
    command.await_files("heard")  # who has heard the first one does not stop: it waits for ever
    press(process)
    _, err = process.communicate(timeout=50)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert all(gone(pid) for pid in pids)
    assert results(command.store) == {}
    process = command.start("none")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "interrupted and taken up" in err
    assert not list(command.store.glob("*/journal"))
    ended = results(command.store)
    assert len(ended) == command.workers
    assert ended.items() <= calm.items()
