"""Whatever a plugin does in its run, an honest run beside and after it keeps its bits, and nothing is left running."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from few_digits import few_digits

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("isolation")]

MARK = "isolation-test-child"
PLUGINS = """
import ctypes, os, random, signal, socket, subprocess, sys, threading, time
import torch
from torch import nn
from bench import Method, Trial
from bench.errors import DataError, StoreError, UsageError


class _Bad(Method):
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove(trial.surgery.fit())
        self.act(trial)


def bad(name, act):
    return type(name, (_Bad,), {"name": name, "act": lambda self, trial: act(trial), "__module__": __name__})


class Silent(BaseException):
    def __str__(self):
        raise ValueError("no text")


def raises(error):
    def act(trial):
        raise error
    return act


def states(trial):
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 0.99 if isinstance(o, torch.Tensor) else o)
    old = nn.functional.cross_entropy
    nn.functional.cross_entropy = lambda *a, **k: old(*a, **k) * 1.5
    os.environ["OMP_NUM_THREADS"] = "7"
    os.chdir("/")
    os.umask(0o777)
    random.seed(1)
    sys.path.insert(0, "/nowhere")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def sleeper():
    os.environ["MARK"] = "%(mark)s"
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", "%(mark)s"], start_new_session=True)


def forks_away(trial):
    sleeper()
    if os.fork() == 0:
        os.setsid()
        sleeper()
        os._exit(0)
    os._exit(0)


def prints(trial):
    print("PLUGIN SAYS\\x1b]0;owned\\x07\\x1b[2J HELLO")
    os.write(1, b"written \\xff\\n" * 10)
    sys.stderr.write("e" * 3_000_000)


def closes(trial):
    os.closerange(0, 200)


def loader(trial):
    from torch.utils.data import DataLoader
    assert len(list(DataLoader(list(range(10)), num_workers=1))) == 10


ACTS = {
    "states": states,
    "exits": lambda trial: sys.exit(0),
    "exits-hard": lambda trial: os._exit(0),
    "presses": raises(KeyboardInterrupt()),
    "raises-base": raises(BaseException("base")),
    "raises-silent": raises(Silent()),
    "raises-ours": raises(StoreError("I am the store")),
    "raises-big": raises(RuntimeError("A" * 5_000_000)),
    "raises-hostile": raises(RuntimeError("\\x1b[31mRED [bold]m[/] <b>\\ud800\\u202e")),
    "kills-group": lambda trial: os.killpg(0, signal.SIGKILL),
    "kills-parent": lambda trial: os.kill(os.getppid(), signal.SIGKILL),
    "ends-itself": lambda trial: os.kill(os.getpid(), signal.SIGTERM),
    "crashes": lambda trial: ctypes.string_at(0),
    "forks-away": forks_away,
    "forks-on": lambda trial: os.fork(),
    "starts": lambda trial: sleeper(),
    "threads": lambda trial: threading.Thread(target=time.sleep, args=(300,)).start(),
    "prints": prints,
    "closes": closes,
    "loader": loader,
}
for _name, _act in ACTS.items():
    globals()[_name] = bad(_name, _act)
"""
ENDS = {
    "exits": ("failed", "SystemExit: 0"),
    "exits-hard": ("failed", "its process ended before its record was written (exit code 0)"),
    "presses": ("failed", "KeyboardInterrupt"),
    "raises-base": ("failed", "BaseException: base"),
    "raises-silent": ("failed", "Silent"),
    "raises-ours": ("failed", "StoreError: I am the store"),
    "raises-big": ("failed", "AAAAAAAA"),
    "raises-hostile": ("failed", "RED"),
    "kills-group": ("failed", "signal 9, SIGKILL"),
    "kills-parent": ("failed", "keeper"),
    "ends-itself": ("failed", "told to stop by SIGTERM"),
    "crashes": ("failed", "signal 11, SIGSEGV"),
    "forks-away": ("failed", "exit code 0"),
    "forks-on": ("ok", None),
    "starts": ("ok", None),
    "threads": ("ok", None),
    "prints": ("ok", None),
    "closes": ("ok", None),
    "loader": ("ok", None),
}
"""How each of them ends; what `states` does to its own run is its own affair."""
TRACK = few_digits("macs=0.5", images=500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugins as an installed distribution, and the track."""
    path = tmp_path_factory.mktemp("isolation")
    about = path / "bad_toys-1.0.dist-info"
    about.mkdir()
    (path / "bad_toys.py").write_text(PLUGINS.replace("%(mark)s", MARK))
    (path / "tiny.toml").write_text(TRACK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-toys\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\nbad = bad_toys\n")
    return path


def command(folder: Path, store: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "BENCH_"))}
    environ |= {"PYTHONPATH": str(folder), "HOME": str(folder)}
    line = [sys.executable, "-m", "bench.cli", "run", "--track", str(folder / "tiny.toml"), "--wandb", "off", "--json"]
    line += ["--store", str(store), "--memory", "none"]
    return subprocess.run(
        [*line, *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        timeout=400,
    )


def bits(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["status"], record["dense"]["weights_sha256"], record["pruned"]["weights_sha256"], record["curve"]


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """What the honest run gives without anybody beside it."""
    done = command(folder, tmp_path_factory.mktemp("alone"), "--method", "l1")
    assert done.returncode == 0, done.stderr
    return bits(json.loads(done.stdout)[0])


def left_running(patience_seconds: float = 10.0) -> list[str]:
    """Processes of these runs that are there; one that was killed may take a moment to go."""
    end = time.monotonic() + patience_seconds
    while (found := _running()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _running() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if MARK.encode() in words:
            found.append(str(path))
    return found


@pytest.mark.parametrize("workers", ["2", pytest.param("1", marks=pytest.mark.nightly)])
def test_an_honest_run_keeps_its_bits_and_every_plugin_has_its_record(
    folder: Path, tmp_path: Path, alone: tuple[Any, ...], workers: str
) -> None:
    names = ["states", *ENDS, "l1"]
    done = command(folder, tmp_path / "s", "--method", ",".join(names), "--workers", workers)
    assert done.returncode == 1, done.stderr
    records = {record["method"]: record for record in json.loads(done.stdout)}
    assert list(records) == names
    assert bits(records["l1"]) == alone
    for name, (status, said) in ENDS.items():
        found = records[name]["status"], records[name]["error"]
        assert found[0] == status, (name, found)
        assert found[1] is None if said is None else said in found[1], (name, found)
    assert left_running() == []
    assert not [each for each in done.stderr.decode() if ord(each) < 32 and each not in "\n"]

    (log,) = (tmp_path / "s").glob("prints-*/log.txt")
    text = log.read_text()
    assert "PLUGIN SAYS\\x1b]0;owned\\x07\\x1b[2J HELLO\nwritten \\xff\n" in text
    assert text.endswith("eeee") and "characters were left out here" in text
    assert len(text) < 1_300_000


def test_a_run_that_takes_too_long_or_too_much_has_a_status_of_its_own(folder: Path, tmp_path: Path) -> None:
    (folder / "greedy_toys.py").write_text(
        "import time\nimport torch\nfrom bench import Method, Trial\n"
        "class Hangs(Method):\n"
        "    name, reference = 'hangs', 'a toy'\n"
        "    def prune(self, trial: Trial) -> None:\n"
        "        trial.train(epochs=0.5)\n"
        "        while True: pass\n"
        "class Eats(Method):\n"
        "    name, reference = 'eats', 'a toy'\n"
        "    def prune(self, trial: Trial) -> None:\n"
        "        kept = []\n"
        "        while True: kept.append(torch.ones(1 << 24))\n"
    )
    (folder / "bad_toys-1.0.dist-info" / "entry_points.txt").write_text("[bench.methods]\ngreedy = greedy_toys\n")
    words = ["--method", "hangs,eats", "--workers", "2", "--timeout", "15s", "--memory", "3GB"]
    begun = time.monotonic()
    done = command(folder, tmp_path / "s", *words)
    assert done.returncode == 1, done.stderr
    records = {record["method"]: record for record in json.loads(done.stdout)}
    assert (records["hangs"]["status"], records["eats"]["status"]) == ("timed-out", "out-of-memory"), records
    assert records["hangs"]["error"].startswith("it was ended after 15 s (--timeout)")
    assert records["eats"]["error"].startswith("it took more memory than 3 GB (--memory)")
    assert list((tmp_path / "s").glob("hangs-*/journal/calls.jsonl"))
    assert time.monotonic() - begun < 300
