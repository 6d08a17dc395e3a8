"""Plugins that break one rule each: the kit names the check, says why, and never breaks itself."""

import contextlib
import copy
import os
import sys
import time
from typing import ClassVar, Literal

import pytest
import torch
from pydantic import Field

from bench import BudgetSpent, ChannelGroup, Config, Hook, Method, NotPrunable, Observer, Step, Trial
from bench.checks.method.kit import CHECKS, CheckResult, check_class  # not a public name: `public names` finds it

pytestmark = pytest.mark.usefixtures("shared_dense")


class Toy(Method):
    """A criterion that is right: the last channels go. The others below are this one with a fault each."""

    name = "toy"
    reference = "made for the tests"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove(trial.surgery.fit(self.scores(trial)))

    def scores(self, trial: Trial) -> dict[str, torch.Tensor]:
        return {group.name: -torch.arange(float(group.width)) for group in trial.surgery.groups}


class ToyWeights(Method):
    """An unstructured criterion that is right: the smallest weights go."""

    name = "toy-weights"
    reference = "made for the tests"
    kind = "unstructured"

    def prune(self, trial: Trial) -> None:
        assert trial.target.ratio is not None
        live = dict(trial.network.named_parameters())
        sizes = {name: live[name].detach().abs() for name in trial.surgery.weights.masks}
        kept = torch.cat([size.flatten() for size in sizes.values()])
        least = kept.sort(descending=True).values[round(trial.target.ratio * len(kept)) - 1]
        trial.surgery.weights.set({name: size >= least for name, size in sizes.items()})


class TakesHalf(Toy):
    """Keeps half of every group whatever the target is."""

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove({g.name: torch.arange(max(1, g.width // 2)) for g in trial.surgery.groups})


class Unseeded(Toy):
    """Draws from the system's entropy."""

    def scores(self, trial: Trial) -> dict[str, torch.Tensor]:
        lots = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
        return {group.name: torch.rand(group.width, generator=lots) for group in trial.surgery.groups}


class Remembers(Toy):
    """Keeps a count on the class, so that a second run in a process is another one."""

    runs: ClassVar[int] = 0

    def scores(self, trial: Trial) -> dict[str, torch.Tensor]:
        Remembers.runs += 1
        return {group.name: torch.arange(float(group.width)).roll(Remembers.runs) for group in trial.surgery.groups}


class TrainsByTheClock(Toy):
    """Trains for as long as the time of day says."""

    def prune(self, trial: Trial) -> None:
        trial.train(epochs=1 + time.time_ns() % 1000 / 1000)
        super().prune(trial)


class OncePerProcess(Toy):
    """Draws an order when it is first needed, and keeps it on the class: equal in a process, another in the next."""

    order: ClassVar[dict[str, torch.Tensor]] = {}

    def scores(self, trial: Trial) -> dict[str, torch.Tensor]:
        if not self.order:
            lots = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
            self.order.update({group.name: torch.rand(group.width, generator=lots) for group in trial.surgery.groups})
        return self.order


class OrderOfASet(Toy):
    """Goes through texts in an order that every process has its own of."""

    def scores(self, trial: Trial) -> dict[str, torch.Tensor]:
        drawn = {number: float(place) for place, number in enumerate({str(number) for number in range(1000)})}
        return {g.name: torch.tensor([drawn[str(i)] for i in range(g.width)]) for g in trial.surgery.groups}


class Forgets(Hook):
    """Pulls the loss by the number of steps, which it does not keep."""

    steps = 0

    def after_step(self, step: Step) -> None:
        self.steps += 1


class ForgetfulHook(Toy):
    """Has a hook without a state_dict."""

    def prune(self, trial: Trial) -> None:
        hook = Forgets()
        trial.surgery.remove(trial.surgery.fit())
        trial.train(epochs=1, hooks=[hook], loss=lambda _net, outputs, labels: outputs.square().mean() * hook.steps)


class CatchesEverything(Toy):
    """Goes on whatever happens."""

    finetunes = "itself"

    def prune(self, trial: Trial) -> None:
        super().prune(trial)
        with contextlib.suppress(BaseException):
            trial.train(epochs=0.5)


class OneSeed(Toy):
    """Sets all weights to one number, so that the seed does not matter."""

    starts = "untrained"
    finetunes = "itself"

    def prune(self, trial: Trial) -> None:
        super().prune(trial)
        trial.surgery.reinitialise()
        with trial._calls.guard.opened(), torch.no_grad():
            for parameter in trial.network.parameters():
                parameter.fill_(0.01)


class Behind(Toy):
    """Trains the network itself."""

    def prune(self, trial: Trial) -> None:
        super().prune(trial)
        optimiser = torch.optim.SGD(trial.network.parameters(), lr=0.01)
        trial.network(trial.training_images(2).pixels.float()).sum().backward()
        optimiser.step()


class BehindOnACopy(Toy):
    """Runs a copy of the network, which costs as much."""

    def prune(self, trial: Trial) -> None:
        copy.deepcopy(trial.network)(trial.training_images(2).pixels.float())
        super().prune(trial)


class Unhooks(Toy):
    """Takes the guard's watch off the network."""

    def prune(self, trial: Trial) -> None:
        super().prune(trial)
        trial._calls.guard.disarm()


class Overspends(Toy):
    """Evaluates until nothing is left, and then goes on by itself."""

    def prune(self, trial: Trial) -> None:
        super().prune(trial)
        while True:
            try:
                trial.evaluate()
            except BudgetSpent:
                break
        if trial.ledger.budget.unit == "device_seconds":
            time.sleep(2 * trial.ledger.budget.amount + 2)


class Crashes(Toy):
    """Ends the process, if it can."""

    def prune(self, trial: Trial) -> None:
        sys.exit(3)


class Raises(Toy):
    """Has a plain bug."""

    def prune(self, trial: Trial) -> None:
        raise KeyError("conv9")


class Empties(Toy):
    """Removes every channel where the target is small."""

    def prune(self, trial: Trial) -> None:
        keep = trial.surgery.fit(self.scores(trial))
        if trial.target.ratio is not None and trial.target.ratio < 0.05:
            keep = {name: kept[:0] for name, kept in keep.items()}
        trial.surgery.remove(keep)


class NeedsTwo(Toy):
    """Divides by the number of other channels, of what is left too."""

    def prune(self, trial: Trial) -> None:
        super().prune(trial)
        self.scores(trial)

    def scores(self, trial: Trial) -> dict[str, torch.Tensor]:
        return {g.name: torch.arange(float(g.width)) * (1 // (g.width - 1) + 1) for g in trial.surgery.groups}


class Hides(Toy):
    """Hides why there is nothing to prune."""

    def prune(self, trial: Trial) -> None:
        try:
            super().prune(trial)
        except NotPrunable:
            raise RuntimeError("no groups") from None


class Forever(Toy):
    """Trains until the accuracy is right, which it never is."""

    def prune(self, trial: Trial) -> None:
        while True:
            trial.train(epochs=1)


class Shrinks(Toy):
    """Says that it prunes nothing, and prunes."""

    targets = "none"

    def prune(self, trial: Trial) -> None:
        trial.surgery.remove({g.name: torch.arange(max(1, g.width // 2)) for g in trial.surgery.groups})


class Misspelt(Toy):
    """A kind that is none."""

    kind: ClassVar[Literal["structured", "unstructured"]] = "structural"  # type: ignore[assignment]


class BareConfig(Config):
    share: float


class NoDefault(Toy):
    """A setting without a default."""

    Config = BareConfig


class SilentConfig(Config):
    share: float = 0.5


class NoDescription(Toy):
    """A setting without a description."""

    Config = SilentConfig


class OddConfig(Config):
    share: object = Field(default_factory=lambda: {1, 2}, description="a set, which JSON does not know")


class NotJson(Toy):
    """A setting that JSON does not know."""

    Config = OddConfig


class Nameless(Observer):
    def observe(self, network: torch.nn.Module, groups: "list[ChannelGroup]") -> dict[str, torch.Tensor]:
        return {}


class NamelessObserver(Toy):
    """An observer without a name."""

    observers = (Nameless,)


class NoDocstring(Toy):
    pass


def local_class() -> type[Method]:
    class Local(Toy):
        """Inside a function, where no worker finds it."""

    return Local


CHEAP = ("declarations", "settings", "observers", "importable")


def failures(method: type[Method], *only: str) -> dict[str, str]:
    results: list[CheckResult] = check_class(method, only=only or tuple(CHECKS))
    return {result.name: result.detail for result in results if result.outcome == "failed"}


@pytest.mark.slow
def test_the_toys_themselves_are_right():
    assert failures(Toy, *CHEAP, "targets", "one channel left", "one channel at start", "nothing to prune") == {}
    assert failures(ToyWeights, *CHEAP, "targets", "resume") == {}


@pytest.mark.parametrize(
    ("method", "check", "words"),
    [
        (TakesHalf, "targets", "trial.surgery.fit"),
        (Unseeded, "determinism", "trial.rng"),
        pytest.param(Remembers, "determinism", "nothing on the class", marks=pytest.mark.slow),
        (Unseeded, "resume", "the method does not replay: call 0 was remove(conv1="),
        pytest.param(TrainsByTheClock, "resume", "call 0 was train(epochs=1.", marks=pytest.mark.slow),
        (Remembers, "resume", "the method does not replay: call 0 was remove("),
        pytest.param(ForgetfulHook, "resume", "call 1, train(epochs=1 share=None", marks=pytest.mark.slow),
        pytest.param(OncePerProcess, "resume", "in a fresh process, the method does not", marks=pytest.mark.slow),
        pytest.param(OrderOfASet, "resume", "do not depend on the order of a set", marks=pytest.mark.slow),
        pytest.param(CatchesEverything, "resume", "and the run went on", marks=pytest.mark.slow),
        (OneSeed, "seeds", "seeds 0 and 1"),
        (Behind, "guard", "outside the trial"),
        (BehindOnACopy, "guard", "outside the trial"),
        (Unhooks, "guard", "Leave the hooks"),
        pytest.param(Overspends, "budget in seconds", "trial.ledger.left", marks=pytest.mark.slow),
        (Crashes, "targets", "SystemExit"),
        (Raises, "targets", "conv9"),
        (Empties, "one channel left", "channel"),
        (NeedsTwo, "one channel left", "ZeroDivisionError"),
        (Hides, "nothing to prune", "Let bench.NotPrunable through"),
        (Shrinks, "targets", "targets = 'size'"),
        (Misspelt, "declarations", "'structured', 'unstructured'"),
        (NoDocstring, "declarations", "docstring"),
        (NoDefault, "settings", "no default"),
        (NoDescription, "settings", "no description"),
        (NotJson, "settings", ""),
        (NamelessObserver, "observers", "no usable name"),
        (local_class(), "importable", ""),
        (Toy, "public names", "imports bench.checks.method.kit"),
    ],
)
def test_the_broken_rule_is_named(method, check, words):
    found = failures(method, check)
    assert list(found) == [check]
    assert words in found[check]


def test_a_method_that_always_fails_fails_every_run_and_the_kit_goes_on():
    found = failures(Raises, *CHEAP, "targets", "guard", "nothing to prune")
    assert list(found) == ["targets", "guard", "nothing to prune"]
    assert "test_bad_plugins.py, line" in found["targets"]


def test_a_method_that_never_ends_is_stopped():
    (result,) = check_class(Forever, only=("targets",), limit_seconds=4)
    assert result.outcome == "failed"
    assert "not done after 4 s" in result.detail
