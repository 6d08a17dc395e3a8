"""Training as a method asks for it: what it costs, its rates, losses, hooks, and one schedule over several calls."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from small_trial import EPOCH, HALF, MACS, NARROW, Make, counts, equal, tensors
from torch import Tensor, nn

from bench import ChannelGroup, Hook, Observer, Step, SurgeryError
from bench.specs.track import Recipe
from bench.training.trainer import Diverged, learning_rate


class Means(Observer):
    """The mean absolute weight of each group."""

    name = "means"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        """Scalars by group name."""
        return {group.name: group.weight.detach().abs().mean() for group in groups}


class Watching(Hook):
    """Keeps what it sees of each step."""

    def __init__(self) -> None:
        self.indices: list[int] = []
        self.progress: list[float] = []
        self.changed: list[bool] = []

    def before_step(self, step: Step) -> None:
        """Remembers the weights."""
        self.indices.append(step.index)
        self.progress.append(step.progress)
        self._before = step.network.fc.weight.detach().clone()

    def after_step(self, step: Step) -> None:
        """Compares."""
        self.changed.append(not torch.equal(self._before, step.network.fc.weight))


# -- train ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{}, {"epochs": 1, "share": 0.5}])
def test_training_takes_either_epochs_or_a_share(make_trial: Make, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either epochs or share"):
        make_trial().train(**wrong)


def test_training_is_charged_three_times_the_macs_of_each_image(make_trial: Make) -> None:
    trial = make_trial()
    trial.train(epochs=1.5)
    assert counts(trial, "prune") == (0, 144, 3 * 144 * MACS)
    assert trial.ledger.phases["prune"].steps == 9
    assert trial.ledger.left == pytest.approx(6 - 1.5)


def test_a_share_is_of_the_methods_part_of_the_budget(make_trial: Make) -> None:
    trial = make_trial(budget=6.0)
    trial.train(share=0.5)
    trial.train(share=0.25)
    assert counts(trial, "prune")[1] == 3 * EPOCH + 96 + 48


def test_a_share_of_a_narrower_network_trains_more_images(make_trial: Make) -> None:
    trial = make_trial(budget=6.0)
    trial.surgery.remove(HALF)
    trial.train(share=0.5)
    affordable = 3 * EPOCH * MACS // NARROW
    epochs, rest = divmod(affordable, EPOCH)
    images = epochs * EPOCH + rest // 16 * 16
    assert counts(trial, "prune") == (0, images, 3 * images * NARROW)


def test_training_stops_at_the_budget_and_then_does_nothing(make_trial: Make) -> None:
    trial = make_trial(budget=1.5)
    history = trial.train(epochs=5)
    assert history.epochs[-1].epochs == 1.5
    assert trial.ledger.left == 0
    before = tensors(trial)
    assert trial.train(epochs=5).epochs == ()
    assert trial.train(share=1.0).epochs == ()
    assert equal(before, tensors(trial))


@pytest.mark.parametrize("budget", [100.0, 4.0])
def test_the_learning_rate_is_annealed_at_the_end_of_a_call_cut_short_or_not(make_trial: Make, budget: float) -> None:
    rates = [epoch.learning_rate for epoch in make_trial(budget=budget).train(epochs=8).epochs]
    assert max(rates) > 0.02
    assert rates[-1] < 0.05 * 0.05


def test_a_training_call_gives_what_observers_saw_in_it(make_trial: Make) -> None:
    trial = make_trial(observers=[Means()])
    first, second = trial.train(epochs=2), trial.train(epochs=1)
    assert [len(history.observed(Means)) for history in (first, second, trial.history)] == [6, 5, 11]
    last = trial.surgery.groups[0].weight.detach().abs().mean()
    assert torch.equal(second.observed(Means)[-1]["conv1"], last)


def test_a_methods_own_loss_is_what_is_minimised(make_trial: Make) -> None:
    trial = make_trial(weight_decay=0.0)
    before = trial.network.conv1.weight.detach().abs().sum()

    def shrink(network: nn.Module, _outputs: Tensor, _labels: Tensor) -> Tensor:
        return network.conv1.weight.abs().sum()

    frozen = trial.network.fc.weight.detach().clone()
    trial.train(epochs=1, loss=shrink)
    assert trial.network.conv1.weight.detach().abs().sum() < before
    assert torch.equal(trial.network.fc.weight, frozen)


def test_a_loss_that_is_not_finite_fails_with_step_and_rate(make_trial: Make) -> None:
    with pytest.raises(Diverged, match="training loss is nan at step 0"):
        make_trial().train(epochs=1, loss=lambda _net, outputs, _labels: outputs.sum() * float("nan"))


def test_hooks_see_every_step_before_and_after(make_trial: Make) -> None:
    watching = Watching()
    make_trial(warmup=0.0).train(epochs=2, hooks=[watching])
    assert watching.indices == list(range(12))
    assert watching.progress == [step / 12 for step in range(12)]
    assert all(watching.changed)


def test_a_hooks_forward_is_charged_as_search(make_trial: Make) -> None:
    class Looking(Hook):
        def after_step(self, step: Step) -> None:
            assert step.forward(step.images[:4]).shape == (4, 4)
            assert step.network.training

    trial = make_trial()
    trial.train(epochs=0.5, hooks=[Looking()])
    assert counts(trial, "search") == (12, 0, 12 * MACS)
    assert counts(trial, "prune") == (0, 48, 3 * 48 * MACS)


def test_a_hook_draws_training_images_with_its_own_generator(make_trial: Make) -> None:
    drawn: list[tuple[Tensor, Tensor]] = []
    trial = make_trial()

    class Drawing(Hook):
        def after_step(self, step: Step) -> None:
            drawn.append(step.sample(10, torch.Generator().manual_seed(step.index // 2)))

    trial.train(epochs=0.5, hooks=[Drawing()])
    (first, labels), (again, _), (other, _) = drawn
    assert first.shape == (10, 1, 8, 8) and labels.shape == (10,)
    assert torch.equal(first, again) and not torch.equal(first, other)
    train = trial._passes.data.normaliser(trial._passes.data.train.pixels)
    assert all(any(torch.equal(image, each) for each in train) for image in first)


@pytest.mark.parametrize(("target", "ratio", "weights"), [("params=0.5", None, 252), ("macs=0.5", 0.1, 28)])
def test_a_share_of_the_parameters_in_weights_that_masks_cover(
    make_trial: Make, target: str, ratio: float | None, weights: int
) -> None:
    # 72 + 432 + 28 weights have masks, 28 of normalisation have none: 560 in all
    trial = make_trial(target=target)
    assert trial.surgery.weights_to_keep(ratio) == weights
    scores = {name: torch.rand(mask.shape) for name, mask in trial.surgery.weights.masks.items()}
    kept = trial.surgery.fit_weights(scores, ratio)
    assert sum(int(mask.sum()) for mask in kept.values()) == trial.surgery.weights_to_keep(ratio)


@pytest.mark.parametrize(
    ("target", "said"), [("macs=0.5", "macs=0.5 is no share of parameters"), ("params=0.05", "less than the 28 that")]
)
def test_a_size_that_weights_cannot_meet_is_refused(make_trial: Make, target: str, said: str) -> None:
    with pytest.raises(SurgeryError, match=said):
        make_trial(target=target).surgery.weights_to_keep()


def test_a_call_inside_another_call_is_refused(make_trial: Make) -> None:
    trial = make_trial()

    class Nested(Hook):
        def after_step(self, step: Step) -> None:
            trial.evaluate()

    with pytest.raises(RuntimeError, match="called from inside another call"):
        trial.train(epochs=1, hooks=[Nested()])


# -- one schedule over several calls ----------------------------------------------------------------------------------


def test_calls_with_parts_of_the_schedule_have_the_rates_of_one_training(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def told(recipe: Recipe, progress: float) -> float:
        seen.append(learning_rate(recipe, progress))
        return seen[-1]

    def rates(*calls: dict[str, Any]) -> list[float]:
        seen.clear()
        trial = make_trial()
        for call in calls:
            trial.train(**call)
        return list(seen)

    monkeypatch.setattr("bench.training.trainer.learning_rate", told)
    whole = rates({"epochs": 4})
    parts = rates({"epochs": 1, "schedule": (0.0, 0.25)}, {"epochs": 3, "schedule": (0.25, 1.0)})
    assert len(whole) == 24
    assert parts == pytest.approx(whole)
    assert max(rates({"epochs": 1}, {"epochs": 3})[12:]) > max(whole[12:])


def test_the_whole_schedule_is_what_a_call_without_one_has(make_trial: Make) -> None:
    plain, whole = make_trial(), make_trial()
    plain.train(epochs=1.5)
    whole.train(epochs=1.5, schedule=(0.0, 1.0))
    assert equal(tensors(plain), tensors(whole))


def test_the_last_part_is_annealed_when_the_budget_cuts_it_short(make_trial: Make) -> None:
    trial = make_trial(budget=3.0)
    trial.train(epochs=1, schedule=(0.0, 0.2))
    history = trial.train(epochs=8, schedule=(0.2, 1.0))
    assert history.epochs[-1].epochs == 2.0
    assert history.epochs[-1].learning_rate < 0.05 * 0.05


@pytest.mark.parametrize("wrong", [(0.5, 0.5), (0.6, 0.4), (-0.1, 1.0), (0.0, 1.1)])
def test_a_schedule_that_does_not_go_forward_is_refused(make_trial: Make, wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 <= begin < end <= 1"):
        make_trial().train(epochs=1, schedule=wrong)


# -- training images --------------------------------------------------------------------------------------------------


def test_training_images_are_those_that_are_stored_and_may_be_written_on(make_trial: Make) -> None:
    trial = make_trial()
    found, few = trial.training_images(), trial.training_images(10)
    assert torch.equal(found.pixels, trial._passes.data.train.pixels) and torch.equal(
        found.labels, trial._passes.data.train.labels
    )
    assert torch.equal(few.pixels, found.pixels[:10]) and few.labels.shape == (10,)
    found.pixels.zero_()
    assert trial._passes.data.train.pixels.any()
    assert trial.ledger.total.images_forward == 0
