"""The guard finds work on the network behind the trial's back, and lets everything else be."""

import contextlib
import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import _global_optimizer_pre_hooks

from bench import Method, Record, Trial
from bench.errors import GuardViolation
from bench.trial.phases import calls_of, finetune, settle

IMAGES = torch.zeros(2, 1, 8, 8)


def step(trial: Trial) -> None:
    """An optimiser's step on the network's parameters, with made-up gradients."""
    optimizer = torch.optim.SGD(trial.network.parameters(), 0.1)
    for parameter in trial.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def change_in_place(trial: Trial) -> None:
    with torch.no_grad():
        trial.network.conv1.weight[0] += 1


def change_data(trial: Trial) -> None:
    trial.network.conv1.weight.data[0] += 1


def change_detached(trial: Trial) -> None:
    trial.surgery.groups[0].weight.detach().zero_()


def change_buffer(trial: Trial) -> None:
    trial.network.bn1.running_mean += 1


def replace_data(trial: Trial) -> None:
    trial.network.conv1.weight.data = torch.zeros_like(trial.network.conv1.weight)


def replace_parameter(trial: Trial) -> None:
    trial.network.conv1.weight = nn.Parameter(trial.network.conv1.weight.detach().clone())


FORBIDDEN: dict[str, tuple[Callable[[Trial], object], str]] = {
    "a forward": (lambda trial: trial.network(IMAGES), "Small of the network was run outside the trial"),
    "a forward of one layer": (lambda trial: trial.network.conv1(IMAGES), "Conv2d of the network was run"),
    "a forward of a copy": (lambda trial: copy.deepcopy(trial.network)(IMAGES), "was run outside the trial"),
    "an optimiser's step": (step, "an optimiser stepped the network's parameters"),
    "a change in place": (change_in_place, "changed outside the trial: conv1.weight"),
    "a change through .data": (change_data, "changed outside the trial: conv1.weight"),
    "a change of a group's detached weight": (change_detached, "changed outside the trial: conv1.weight"),
    "a change of a buffer": (change_buffer, "changed outside the trial: bn1.running_mean"),
    "other data": (replace_data, "changed outside the trial: conv1.weight"),
    "another parameter": (replace_parameter, "changed outside the trial: conv1.weight"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_work_behind_the_trials_back_is_found_at_the_next_call_at_the_latest(
    make_trial: Callable[..., Trial], what: str
) -> None:
    trial = make_trial()
    work, said = FORBIDDEN[what]

    def prune() -> None:
        work(trial)
        trial.evaluate(images=1)

    with pytest.raises(GuardViolation, match=said) as caught:
        prune()
    assert "Use trial.train, trial.evaluate" in str(caught.value)
    assert len(calls_of(trial).guard.violations) == 1


@pytest.mark.parametrize("what", FORBIDDEN)
def test_work_after_the_last_call_is_found_at_the_end(make_trial: Callable[..., Trial], what: str) -> None:
    trial = make_trial()

    def prune() -> None:
        FORBIDDEN[what][0](trial)
        settle(trial)

    with pytest.raises(GuardViolation, match=FORBIDDEN[what][1]):
        prune()


def test_reading_and_computing_with_the_weights_is_fine(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    for group in trial.surgery.groups:
        norms = group.weight.flatten(1).norm(dim=1)
        functional.conv2d(torch.zeros(1, group.weight.shape[1], 8, 8), group.weight)
        torch.autograd.grad(norms.sum(), group.weight)
    trial.network.state_dict()
    copy.deepcopy(trial.network)
    list(trial.network.named_parameters())
    trial.evaluate(images=1)
    settle(trial)


def test_an_agents_own_network_and_optimiser_are_fine(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    agent = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(agent.parameters())
    agent(torch.ones(5, 3)).sum().backward()
    optimizer.step()
    trial.evaluate(images=1)
    settle(trial)


def test_the_trials_own_calls_are_fine(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    trial.train(epochs=1)
    with trial.surgery.masked({"conv1": torch.arange(4)}):
        trial.evaluate(images=8)
    trial.probe(lambda seen: {name: value.mean() for name, value in seen.items()}, images=8)
    trial.surgery.remove(trial.surgery.fit())
    trial.train(epochs=1)
    finetune(trial)
    settle(trial)
    assert calls_of(trial).guard.violations == []


def test_a_change_inside_masked_is_found(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()

    def prune() -> None:
        with trial.surgery.masked({"conv1": torch.arange(4)}):
            change_data(trial)
            trial.evaluate(images=1)

    with pytest.raises(GuardViolation, match="changed outside the trial: conv1.weight"):
        prune()


@pytest.mark.parametrize("found", [False, True])
def test_nothing_is_left_on_the_network_or_on_optimisers_after(make_trial: Callable[..., Trial], found: bool) -> None:
    before = len(_global_optimizer_pre_hooks)
    trial = make_trial()
    assert len(_global_optimizer_pre_hooks) == before + 1
    if found:
        change_data(trial)
    with contextlib.suppress(GuardViolation):
        settle(trial)
    assert len(_global_optimizer_pre_hooks) == before
    assert not any(module._forward_pre_hooks for module in trial.network.modules())
    trial.network(IMAGES)


# -- whole runs ---------------------------------------------------------------------------------------------------


class Peeking(Method):
    """Runs the network itself."""

    name = "peeking"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """Forbidden."""
        trial.network(torch.zeros(1, 1, 28, 28))


class Secretive(Method):
    """Runs the network itself and swallows what the guard says."""

    name = "secretive"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """Forbidden, and hidden."""
        with contextlib.suppress(Exception):
            trial.network(torch.zeros(1, 1, 28, 28))
        trial.surgery.remove(trial.surgery.fit())


class Late(Method):
    """Changes a weight as the last thing it does."""

    name = "late"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """Forbidden, and not followed by any call of its own."""
        trial.surgery.remove(trial.surgery.fit())
        trial.network.conv1.weight.data[0] += 1


@pytest.mark.parametrize("method", [Peeking, Secretive, Late])
def test_a_run_with_a_violation_is_invalid_and_says_what_was_done(
    run: Callable[..., Record], method: type[Method]
) -> None:
    record = run(method)
    assert record.status == "invalid"
    assert record.error is not None
    assert "outside the trial" in record.error
    assert record.pruned is None
