"""What all tests share: real data when the machine has them, a small track, trials on made-up images, toy methods."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from filelock import FileLock
from torch import Tensor, nn

from bench.data.base import Dataset, Images
from bench.data.splits import Data, split_images
from bench.errors import GuardViolation
from bench.measure.macs import count_macs
from bench.plugins import discover
from bench.records.record import Record
from bench.records.store import Store
from bench.runner.jobs import RunRequest, make_plan
from bench.runner.run import Workplace, execute
from bench.seeding import generator
from bench.specs.budget import TRAINING, Budget, Ledger, Unit
from bench.specs.target import Target
from bench.specs.track import Recipe, Validation
from bench.training.hooks import History, Observer
from bench.trial.method import Config, Method
from bench.trial.phases import begin, calls_of
from bench.trial.setup import TrialSetup
from bench.trial.trial import Trial

SMOKE = """
summary = "Handwritten digits on LeNet-5, as short as it goes."
dataset = "digits"
network = "lenet5"
prunable = ["conv1", "conv2"]
ranked = false
floor = 0.5
tolerance = 0.05
threads = 1
targets = ["macs=0.5", "macs=0.25"]

[validation]
images = 800

[dense]
epochs = 2
learning_rate = 0.03
batch_size = 32

[finetune]
learning_rate = 0.03
batch_size = 32

[budget]
dense_epochs = 4
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: at the end of several processes there is little to wait for."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The folder with real MNIST and CIFAR-10 in torchvision's layout; None where there is none.

    It is BENCH_TEST_DATA, or what a `restore` script beside the checkout unpacks.
    """
    given = os.environ.get("BENCH_TEST_DATA")
    if given:
        return Path(given)
    script = Path(__file__).resolve().parents[2] / "shared" / "data" / "restore"
    if not script.is_file():
        return None
    # pytest's processes share the folder above their own; without them, that is the one of earlier sessions
    top = tmp_path_factory.getbasetemp()
    folder = (top.parent if "PYTEST_XDIST_WORKER" in os.environ else top) / "data"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            made = folder.with_name("data-in-the-making")
            subprocess.run([sys.executable, str(script), str(made)], check=True, capture_output=True)
            made.rename(folder)
    os.environ["BENCH_TEST_DATA"] = str(folder)
    return folder


# -- real runs: digits on LeNet-5 ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def smoke_track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track file: digits on LeNet-5, 2 dense epochs of a budget of 4."""
    path = tmp_path_factory.mktemp("tracks") / "smoke.toml"
    path.write_text(SMOKE)
    return path


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """One store for many tests, so that its dense networks are trained once."""
    return Workplace(Store(tmp_path_factory.mktemp("store")), tmp_path_factory.mktemp("no-data"))


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Method]], None]:
    """Makes a method class known by its name, for one test."""
    found = discover("bench.methods", "bench.methods", Method)
    return lambda method: monkeypatch.setitem(found.classes, method.name, method)


@pytest.fixture
def run(
    install: Callable[[type[Method]], None], smoke_track: Path, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Record]:
    """`run(Toy, target="macs=0.5", seed=0, budget=None, ...)`: the record of one run on the smoke track."""

    def go(
        method: type[Method] | str,
        target: str = "macs=0.5",
        seed: int = 0,
        *,
        settings: Sequence[str] = (),
        budget: str | None = None,
        track: Path = smoke_track,
        at: Workplace = workplace,
    ) -> Record:
        if not isinstance(method, str):
            install(method)
        name = method if isinstance(method, str) else method.name
        targets = () if target == "none" else (target,)
        asked = RunRequest((name,), (str(track),), targets, (seed,), tuple(settings), budget)
        (job,) = make_plan(asked)
        monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
        return execute(job, at)

    return go


@pytest.fixture
def whole_record() -> Record:
    """A record with every section filled."""
    measured = {
        "top1_val": 0.9,
        "top1_test": 0.875,
        "correct_test": "gA==",
        "macs": 1000,
        "macs_nonzero": 900,
        "params": 100,
        "nonzero": 90,
        "bytes": 400,
        "peak_bytes": 800,
        "latency": [{"batch": 1, "median_seconds": 0.002, "iqr_seconds": 0.0001, "runs": 10}],
        "weights_sha256": "ab",
    }
    spent = {"steps": 1, "images_forward": 2, "images_trained": 3, "macs": 4, "device_seconds": 2.5}
    return Record.model_validate(
        {
            "run_id": "l1-smoke-macs0.5-s3-0123456789ab",
            "status": "ok",
            "method": "l1",
            "kind": "structured",
            "control": False,
            "config": {"scope": "uniform"},
            "track": "smoke",
            "track_fields": {"dataset": "digits"},
            "target": "macs=0.5",
            "seed": 3,
            "dense": measured,
            "pruned": {**measured, "macs": 500},
            "ratios": {"macs": 0.5, "params": 1.0, "compression": 1.1, "filters_removed": 0.3},
            "layers": [{"name": "conv1", "width_before": 20, "width_after": 10, "params": 5, "nonzero": 4, "macs": 6}],
            "left_out": {"fc": "feeds a LayerNorm"},
            "budget": {"amount": 6.0, "unit": "dense_epochs", "dense_epoch_macs": 8},
            "ledger": {"dense": spent, "total": spent},
            "curve": [{"phase": "dense", "epoch": 1.0, "spent": 0.5, "values": {"top1_val": 0.9, "macs": 1000}}],
            "manifest": {"command": "bench run --method l1"},
        }
    )


# -- trials: made-up images on a small network --------------------------------------------------------------------


class Patterns(Dataset):
    """Four noisy patterns of 1x8x8: 128 training images (32 of them validation), 40 for test."""

    name = "patterns"
    summary = "Four noisy patterns."
    reference = "made up"
    channels, size, classes = 1, 8, 4
    mean, std = (0.5,), (0.25,)

    def load(self, folder: Path) -> tuple[Images, Images]:
        drawn = generator("patterns")
        patterns = torch.randint(0, 128, (4, 1, 8, 8), generator=drawn)

        def images(count: int) -> Images:
            labels = torch.arange(count) % 4
            noise = torch.randint(0, 128, (count, 1, 8, 8), generator=drawn)
            return Images((patterns[labels] + noise).to(torch.uint8), labels)

        return images(128), images(40)


class Small(nn.Module):
    """Two 3x3 convolutions of 8 and 6 channels with BatchNorm, mean, linear.

    MACs on 8x8: 8 * 9 * 64 + 6 * 8 * 9 * 64 + 6 * 4 = 32,280.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.bn1(self.conv1(images)).relu()
        return self.fc(self.bn2(self.conv2(hidden)).relu().mean((2, 3)))


@pytest.fixture
def with_weights(make_trial: Callable[..., Trial]) -> Callable[..., Trial]:
    """`with_weights(conv1_weight=..., target=...)`: `make_trial` on `Small` with these parameters, broadcast."""

    def make(target: str = "macs=0.5", **weights: Tensor) -> Trial:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            network = Small()
            for name, value in weights.items():
                parameter = network.get_parameter(name.replace("_", "."))
                parameter.copy_(value.expand_as(parameter))
        return make_trial(network, target=target)

    return make


@pytest.fixture(scope="session")
def patterns() -> Data:
    """`Patterns`, split: 96 training, 32 validation, 40 test images."""
    train, test = Patterns().load(Path())
    return split_images(Patterns(), train, test, Validation(images=32), torch.device("cpu"))


@pytest.fixture
def make_trial(patterns: Data) -> Iterator[Callable[..., Trial]]:
    """`make_trial(budget=6.0, ...)`: a trial that has begun, on `Small` and `Patterns` (or on `network` and `data`)."""
    made: list[Trial] = []

    def make(
        network: nn.Module | None = None,
        *,
        budget: float = 6.0,
        unit: Unit = "dense_epochs",
        search_share: float = 0.3,
        target: str = "macs=0.5",
        seed: int = 0,
        observers: Sequence[Observer] = (),
        data: Data = patterns,
        **recipe: object,
    ) -> Trial:
        if network is None:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                network = Small()
        initial = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        macs = count_macs(network, data.shape).total
        params = sum(parameter.numel() for parameter in network.parameters())
        aim = Target.parse(target)
        inputs = torch.randn(4, *data.shape, generator=generator("proof"))
        setup = TrialSetup(
            network=network.eval(),
            config=Config(),
            target=aim,
            rng=generator(seed, "method"),
            history=History(),
            ledger=Ledger(Budget(budget, unit, TRAINING * macs * len(data.train)), search_share),
            recipe=Recipe.model_validate({"learning_rate": 0.05, "batch_size": 16, **recipe}),
            precision="float32",
            seed=seed,
            data=data.for_method(),
            prunable=None,
            dense_macs=macs,
            dense_params=params,
            proof_inputs=inputs,
            observers=observers,
            initialise=lambda net: None,
            recorded_widths=lambda run: {},
            initial=lambda: initial,
        )
        trial = Trial(setup)
        made.append(trial)
        begin(trial)
        return trial

    yield make
    for trial in made:
        with contextlib.suppress(GuardViolation):
            calls_of(trial).guard.disarm()


# -- a method of another distribution, for worker processes and the command line ----------------------------------

TOYS = '''
import os
import torch
from bench import Config, Method, Trial


class _Toy(Method):
    reference = "a toy"


class Halve(_Toy):
    """Keeps the first channels."""

    name = "halve"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove(trial.surgery.fit())


class Loafer(_Toy):
    """Removes nothing."""

    name = "loafer"

    def prune(self, trial: Trial) -> None:
        pass


class Clumsy(_Toy):
    """Fails."""

    name = "clumsy"

    def prune(self, trial: Trial) -> None:
        raise ValueError("the plugin's own mistake")


class Deserter(_Toy):
    """Takes its process with it."""

    name = "deserter"

    def prune(self, trial: Trial) -> None:
        os._exit(9)
'''


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with an installed distribution of methods: halve, loafer, clumsy, deserter."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "toys.py").write_text(TOYS)
    about = folder / "toys-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\ntoys = toys\n")
    return folder


class Prepared:
    """A process that has imported what commands import, and copies of it; `prepared.py` says more."""

    def __init__(self, folder: Path) -> None:
        self._address = str(folder / "prepared")
        command = [sys.executable, "-P", str(Path(__file__).with_name("prepared.py")), self._address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ready = False

    def _ask(self, asked: dict[str, Any], files: Sequence[int]) -> tuple[int, socket.socket]:
        """The id of the process that was made, and the connection that tells of its end."""
        if not self._ready:
            assert self._process.stdout is not None
            self._ready = self._process.stdout.readline() == "ready\n"
            assert self._ready
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        socket.send_fds(connection, [json.dumps(asked).encode() + b"\n"], files)
        with connection.makefile("rb", buffering=0) as said:
            return int(said.readline()), connection

    def command(
        self, words: Sequence[str], folder: Path, environ: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """`python -m bench.cli WORDS` in `folder`, to its end, which comes within five minutes."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            asked = {"words": list(words), "folder": str(folder), "environ": dict(environ)}
            pid, connection = self._ask(asked, [out.fileno(), err.fileno()])
            connection.settimeout(300)
            with connection:
                try:
                    code = int(connection.recv(64))
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(list(words), code, *texts)

    def start(self, nursery: Any) -> None:
        """`Nursery._start`: the process that runs come from, at once."""
        ours, theirs = socket.socketpair()
        asked = {"nursery": True, "path": sys.path, "folder": str(Path.cwd()), "environ": dict(os.environ)}
        with theirs:
            pid, ended = self._ask(asked, [theirs.fileno()])

        def wait() -> None:
            with ended:
                ended.recv(64)

        nursery._control = ours
        nursery._process = SimpleNamespace(pid=pid, kill=lambda: os.kill(pid, signal.SIGKILL), wait=wait)

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.communicate()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """One for all tests of a process."""
    made = Prepared(tmp_path_factory.mktemp("prepared"))
    yield made
    made.close()


@pytest.fixture
def copied_nursery(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of commands in this process come from a copy of the prepared one, which takes no seconds to start."""
    monkeypatch.setattr("bench.runner.nursery.Nursery._start", lambda nursery: prepared.start(nursery))


@pytest.fixture
def bench(toys: Path, tmp_path: Path, prepared: Prepared) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`bench("run", "--method", "halve")`: the command as a user types it, with the toys installed, in a new folder."""
    home = tmp_path / "home"
    home.mkdir()

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "BENCH_"))}
        environ |= {"PYTHONPATH": str(toys), "HOME": str(home), "COLUMNS": "200", **environment}
        return prepared.command(words, home, environ)

    return call


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's clock goes on by a millisecond a look, so that budgets in seconds do not depend on the machine."""
    from bench.training.clock import Clock

    looks = count()
    monkeypatch.setattr(Clock, "_now", lambda *_: next(looks) / 1000)
