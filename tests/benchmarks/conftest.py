"""What the benchmarks share: networks, a trial, made-up records, and the ratio of two rivals from runs in turns."""

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles

import pytest
import torch
from torch import nn

from bench.data.splits import Data, load_data
from bench.measure.macs import count_macs
from bench.networks.registry import network
from bench.seeding import generator
from bench.specs.budget import TRAINING, Budget, Ledger
from bench.specs.target import Target
from bench.specs.track import load_track
from bench.training.hooks import History
from bench.trial.method import Config
from bench.trial.phases import begin, calls_of
from bench.trial.setup import TrialSetup
from bench.trial.trial import Trial

NETWORKS = ("lenet5", "vgg16", "resnet20")

Ratio = Callable[..., float]

_PATH = Path(__file__).parent.parent / "leaderboard" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("leaderboard_records", _PATH)
assert _SPEC
assert _SPEC.loader
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

synthetic_records = _MODULE.synthetic_records  # a fixture of the leaderboard's tests


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the tracks for a CPU do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """A network in eval mode with the input that it is known for, and that input's shape."""
    known = network(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return known.build(known.input).eval(), known.input.shape


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The data of the track `digits-lenet5`."""
    return load_data(load_track("digits-lenet5"), tmp_path_factory.mktemp("none"), "cpu")


@pytest.fixture
def trial(digits: Data) -> Iterator[Trial]:
    """A trial on LeNet-5 and the digits that has begun, with a budget that does not end."""
    track = load_track("digits-lenet5")
    net, _ = build("lenet5")
    shape = digits.shape
    macs = count_macs(net, shape).total
    params = sum(parameter.numel() for parameter in net.parameters())
    target = Target.parse("macs=0.25")
    inputs = torch.randn(4, *shape, generator=generator("proof"))
    setup = TrialSetup(
        network=net,
        config=Config(),
        target=target,
        rng=generator(0, "method"),
        history=History(),
        ledger=Ledger(Budget(1e6, "dense_epochs", TRAINING * macs * len(digits.train)), 0.9),
        recipe=track.finetune,
        precision="float32",
        seed=0,
        data=digits.for_method(),
        prunable=track.prunable,
        dense_macs=macs,
        dense_params=params,
        proof_inputs=inputs,
        observers=(),
        initialise=lambda net: None,
        recorded_widths=lambda run: {},
        initial=net.state_dict,
    )
    made = Trial(setup)
    begin(made)
    yield made
    calls_of(made).guard.disarm()


@pytest.fixture
def turns() -> Callable[..., list[float | None]]:
    """`turns(first, second, ..., rounds=3)`: each call's shortest seconds, made in turns; None for one that fails."""

    def run(*calls: Callable[[], object], rounds: int = 3) -> list[float | None]:
        best: list[float | None] = [float("inf")] * len(calls)
        for _ in range(rounds):
            for place, call in enumerate(calls):
                shortest = best[place]
                if shortest is None:
                    continue
                begun = time.perf_counter()
                try:
                    call()
                except Exception:  # a rival may fail in any way on a network that it does not know
                    best[place] = None
                else:
                    best[place] = min(shortest, time.perf_counter() - begun)
        return best

    return run


@pytest.fixture
def ratio(capsys: pytest.CaptureFixture[str]) -> Ratio:
    """`ratio("ours / rival", ours, rival, rounds=9)`: runs both in turns, prints and returns the ratio of their times.

    The ratio is that of the fastest turns: what else the machine does makes a turn slower, never faster. Quartiles of
    the turns' own ratios are printed beside it. Each side is called with what its `setup` returns, which is not timed.
    """

    def compare(
        name: str,
        ours: Callable[..., object],
        rival: Callable[..., object],
        setup: Callable[[], tuple[object, ...]] = tuple,
        rival_setup: Callable[[], tuple[object, ...]] | None = None,
        rounds: int = 9,
    ) -> float:
        turns: list[tuple[float, float]] = []
        for _ in range(rounds + 1):
            seconds = []
            for call, prepare in ((ours, setup), (rival, rival_setup or setup)):
                arguments = prepare()
                begun = time.perf_counter()
                call(*arguments)
                seconds.append(time.perf_counter() - begun)
            turns.append((seconds[0], seconds[1]))
        del turns[0]  # to warm up
        mine, other = (min(side) for side in zip(*turns, strict=True))
        low, middle, high = quantiles((first / second for first, second in turns), n=4)
        with capsys.disabled():
            print(
                f"\n{name}: {mine / other:.2f} ({1e3 * mine:.3g} ms to {1e3 * other:.3g} ms; of {rounds} turns: "
                f"quartiles {low:.2f}, {middle:.2f}, {high:.2f})"
            )
        return mine / other

    return compare
