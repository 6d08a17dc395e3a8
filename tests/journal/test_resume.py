"""A training call that is taken up again goes on to the same bits: hooks, generators, masks and optimiser."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import ChannelGroup, Observer
from bench.errors import BenchError
from bench.journal.codec import read_state, write_state
from bench.journal.protocol import JournalRefused, State
from bench.journal.training_state import optimiser_tensors, put_optimiser
from bench.measure.network import tensors_sha256
from bench.training.hooks import Hook, Step
from bench.training.optimiser import Optimiser
from bench.trial.phases import calls_of
from bench.trial.trial import Trial

Journaled = Callable[..., Trial]
KilledAt = Callable[[int], Any]


class Counting(Hook):
    """Remembers steps and images, draws from the method's generator, and masks a weight on the way."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng, self.steps, self.mean, self.drawn = rng, 0, torch.zeros(2), []

    def after_step(self, step: Step) -> None:
        """Changes all that it has."""
        self.steps += 1
        self.mean[self.steps % 2] += step.images.mean()
        self.drawn.append(torch.rand((), generator=self.rng).item())
        if self.steps == 3:
            step.weights.set({"conv1.weight": torch.rand(8, 1, 3, 3, generator=self.rng) > 0.2})

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "mean": self.mean, "inner": {"drawn": self.drawn}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps, self.mean, self.drawn = state["steps"], state["mean"], state["inner"]["drawn"]


class Rows(Observer):
    """A value a channel."""

    name = "rows"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        """The l1 norms."""
        return {group.name: group.norms().detach() for group in groups}


class Dropping(nn.Sequential):
    """A small network that draws from the global generator in training."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 4))


def left(trial: Trial, *more: Any) -> tuple[Any, ...]:
    """All that a run leaves, for comparison: weights, masks, optimiser, ledger, curve, the method's generator."""
    masks = trial.surgery.weights.state_dict()
    momenta = optimiser_tensors(calls_of(trial).optimiser)
    return (
        tensors_sha256(trial.network.state_dict()),
        tensors_sha256(masks),
        tensors_sha256(momenta),
        {name: (p.steps, p.images_forward, p.images_trained, p.macs) for name, p in trial.ledger.phases.items()},
        calls_of(trial).curve,
        torch.rand(3, generator=trial.rng).tolist(),
        *more,
    )


@pytest.mark.parametrize("step", [2, 6, 7, 12])
def test_a_killed_training_goes_on_with_its_hooks_masks_and_generators(
    journaled: Journaled, make_trial: Callable[..., Trial], killed_at: KilledAt, step: int
) -> None:
    def method(trial: Trial) -> tuple[Any, ...]:
        hook = Counting(trial.rng)
        first = trial.train(epochs=1.0, hooks=[hook])
        second = trial.train(epochs=1.3, hooks=[hook])
        return left(trial, first, second, hook.steps, hook.mean.tolist(), hook.drawn)

    expected = method(make_trial())
    with killed_at(step):
        method(journaled())
    assert method(journaled()) == expected
    assert method(journaled()) == expected


@pytest.mark.parametrize("step", [2, 8, 9, 14])
def test_gradients_snapshots_and_rewinding_replay_to_the_same_bits(
    journaled: Journaled, make_trial: Callable[..., Trial], killed_at: KilledAt, step: int
) -> None:
    def method(trial: Trial) -> tuple[Any, ...]:
        trial.train(epochs=0.5)
        early = trial.snapshot()
        gradients = trial.gradients(20)
        trial.surgery.remove({"conv1": gradients["conv1.weight"].abs().flatten(1).sum(1).topk(4).indices})
        trial.train(epochs=1.0, penalty=lambda network: network.bn1.weight.abs().sum())
        trial.rewind(early)
        trial.train(epochs=0.5)
        trial.rewind()
        trial.train(epochs=0.5)
        return left(trial, {name: tensor.tolist() for name, tensor in gradients.items()})

    expected = method(make_trial())
    with killed_at(step):
        method(journaled())
    assert method(journaled()) == expected
    assert method(journaled()) == expected


@pytest.mark.parametrize("step", [2, 4, 7, 9])
def test_what_observers_saw_of_a_killed_training_is_whole_and_nothing_twice(
    journaled: Journaled, make_trial: Callable[..., Trial], killed_at: KilledAt, step: int
) -> None:
    def method(trial: Trial) -> list[Any]:
        trial.train(epochs=1.0)
        trial.surgery.remove({"conv1": torch.tensor([0, 2, 5])})
        trial.train(epochs=0.9)
        return [(seen.epochs, seen.observed["rows"]["conv1"].tolist()) for seen in trial.history.observations]

    expected = method(make_trial(observers=[Rows()]))
    assert len(expected) == 10
    assert all(len(rows) == 3 for _, rows in expected)
    with killed_at(step):
        method(journaled(observers=[Rows()]))
    assert method(journaled(observers=[Rows()])) == expected
    assert method(journaled(observers=[Rows()])) == expected


def test_gradients_whose_file_is_gone_are_refused(journaled: Journaled, tmp_path: Path) -> None:
    journaled().gradients(20)
    (tmp_path / "journal" / "value-00000.safetensors").unlink()
    with pytest.raises(JournalRefused, match="damaged at call 0"):
        journaled().gradients(20)


def test_a_killed_training_with_dropout_goes_on_with_the_global_generator(
    journaled: Journaled, make_trial: Callable[..., Trial], killed_at: KilledAt
) -> None:
    def method(trial: Trial) -> tuple[Any, ...]:
        trial.train(epochs=2.0)
        return left(trial)

    def network() -> Dropping:
        torch.manual_seed(0)
        return Dropping()

    expected = method(make_trial(network()))
    with killed_at(9):
        method(journaled(network=network()))
    torch.rand(5)
    assert method(journaled(network=network())) == expected


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("step", [8, 15])
def test_a_training_killed_before_or_after_a_removal_goes_on_with_the_sliced_optimiser(
    journaled: Journaled, make_trial: Callable[..., Trial], killed_at: KilledAt, optimiser: str, step: int
) -> None:
    def method(trial: Trial) -> tuple[Any, ...]:
        trial.network.to(memory_format=torch.channels_last)
        calls_of(trial).guard.disarm()
        calls_of(trial).guard.arm()
        trial.train(epochs=1.5)
        trial.surgery.remove(trial.surgery.fit())
        trial.train(epochs=1.5)
        return left(trial)

    recipe = {"optimiser": optimiser, "learning_rate": 0.01}
    expected = method(make_trial(**recipe))
    with killed_at(step):
        method(journaled(**recipe))
    assert method(journaled(**recipe)) == expected


@pytest.mark.parametrize("step", [1, 4, 8, 14, 20])
def test_a_run_killed_while_it_practises_or_after_goes_on_in_the_same_schedule(
    journaled: Journaled, make_trial: Callable[..., Trial], killed_at: KilledAt, step: int
) -> None:
    def method(trial: Trial) -> tuple[Any, ...]:
        seen = []
        for classes in (4, 2):
            with trial.practice(share=0.25, classes=classes) as practice:
                practice.train(share=0.5, schedule=(0.0, 0.5))
                practice.surgery.remove(practice.surgery.fit())
                practice.train(share=0.4, schedule=(0.5, 1.0))
                seen.append(practice.evaluate(images=8, recalibrate=False).loss)
                torch.rand(1, generator=trial.rng)
        trial.train(share=0.2, schedule=(0.0, 0.4))
        trial.surgery.remove(trial.surgery.fit())
        trial.train(share=1.0, schedule=(0.4, 1.0))
        return left(trial, seen)

    expected = method(make_trial())
    with killed_at(step):
        method(journaled())
    assert method(journaled()) == expected
    assert method(journaled()) == expected


# -- the optimiser's memory layout --------------------------------------------------------------------------------


def stepped(network: nn.Module, optimizer: torch.optim.Optimizer, images: Sequence[Tensor]) -> None:
    for each in images:
        optimizer.zero_grad(set_to_none=True)
        network(each).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("sliced", [False, True])
def test_a_fused_step_after_slice_and_resume_is_that_of_plain_kernels(name: str, sliced: bool) -> None:
    from bench.specs.track import Recipe

    recipe = Recipe(learning_rate=0.0005, optimiser="sgd" if name == "SGD" else "adam")

    def run(fused: bool) -> list[Tensor]:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3)).to(memory_format=torch.channels_last)
        images = [torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last) for _ in range(6)]
        kept = Optimiser()

        def make() -> torch.optim.Optimizer:
            made = kept.make(network, recipe)
            for group in made.param_groups:
                group["fused"], group["foreach"] = fused, False
            return made

        first = make()
        stepped(network, first, images[:2])
        kept.keep(network, first)
        if sliced:
            channels = torch.tensor([0, 2, 3, 7])
            parts = {"0.weight": (0, channels), "0.bias": (0, channels), "1.weight": (1, channels)}
            for part, (dim, index) in parts.items():
                module, attribute = network[int(part[0])], part[2:]
                smaller = getattr(module, attribute).detach().index_select(dim, index)
                if smaller.dim() == 4:
                    smaller = smaller.contiguous(memory_format=torch.channels_last)
                setattr(module, attribute, nn.Parameter(smaller))

            def by(tensors: Any) -> dict[str, Tensor]:
                return {n: t.index_select(*parts[n]) if n in parts else t for n, t in tensors.items()}

            kept.slice(by)
        flat = {key: value.contiguous().clone() for key, value in optimiser_tensors(kept).items()}  # as in a file
        put_optimiser(kept, flat, network)
        second = make()
        for parameter in network.parameters():
            momenta = [value for value in second.state[parameter].values() if value.dim()]
            assert momenta
            assert all(value.stride() == parameter.stride() for value in momenta)
        stepped(network, second, images[2:])
        return [parameter.detach() for parameter in network.parameters()]

    for fused, plain in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


# -- what is refused ----------------------------------------------------------------------------------------------


class Hoarder(Hook):
    """Remembers what cannot be written down."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": {1, 2}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Forgetful(Hook):
    """Remembers, and does not say how to take it up."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": 1}


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (Hoarder, r"Hoarder.state_dict\(\) cannot be kept: a set cannot be journaled"),
        (Forgetful, "Forgetful has a state_dict but no load_state_dict: it could not be resumed"),
    ],
)
def test_a_hook_that_could_not_be_resumed_is_refused_before_the_first_step(
    journaled: Journaled, hook: type[Hook], said: str
) -> None:
    trial = journaled()
    with pytest.raises(BenchError, match=said):
        trial.train(epochs=1.0, hooks=[hook()])
    assert trial.ledger.total.steps == 0


@pytest.mark.parametrize(
    "change",
    [
        {"at": [1, 2, 3.0, 4, 5, 6.0]},
        {"at": ["1", 1, 0.1, 1, 1, 0.1, 0]},
        {"at": [10**400, 1, 0.1, 1, 1, 0.1, 0]},
        {"at": [1, 1, 0.1, -1, 1, 0.1, 0]},
        {"at": [1, 1, 0.1, 1, 1, 0.1, -1]},
        {"history": 5},
        {"hooks": [{}]},
        {"random": {"python": [3, [2**70] * 625, None], "numpy": []}},
        {"random": {"python": [3, [1], None], "numpy": ["MT19937", [2**40], 1, 0, 0.0]}},
        {"books": {"books": {}, "points": []}},
        {"books": {"books": {"ledger": {"../../x": {}}}, "points": []}},
        {"tensor": ("total", torch.ones(3))},
        {"tensor": ("order", torch.ones(3))},
        {"tensor": ("random/cpu", torch.zeros(7, dtype=torch.uint8))},
        {"tensor": ("network/conv1.weight", torch.ones(1))},
        {"tensor": ("network/../../escape", torch.ones(1))},
        {"tensor": ("optimiser/momentum_buffer/conv1.weight", torch.ones(1, 1, 1, 1))},
        {"tensor": ("optimiser/momentum_buffer/../x", torch.ones(1))},
        {"tensor": ("mask/conv1.weight", torch.ones(2, dtype=torch.bool))},
    ],
    ids=lambda change: str(change)[:60].replace("\n", ""),
)
def test_a_checkpoint_with_wrong_content_is_refused_by_name(
    journaled: Journaled, killed_at: KilledAt, tmp_path: Path, change: dict[str, Any]
) -> None:
    with killed_at(4):
        journaled().train(epochs=1.0)
    path = tmp_path / "journal" / "checkpoint.safetensors"
    state = read_state(path)
    tensors = dict(state.tensors)
    if "tensor" in change:
        name, tensor = change["tensor"]
        tensors[name] = tensor
        change = {}
    write_state(path, State(tensors, {**state.values, **change}))
    with pytest.raises(JournalRefused, match=r"checkpoint\.safetensors is not as it was written .* delete the file"):
        journaled().train(epochs=1.0)
