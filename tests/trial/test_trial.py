"""The trial: every call as a method makes it, what it changes, what it costs and what it leaves alone."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import ChannelGroup, Hook, NotPrunable, Observer, Step, SurgeryError, Trial, UsageError
from bench.errors import BudgetSpent, GuardViolation
from bench.specs.track import Recipe
from bench.training.batchnorm import collecting
from bench.training.trainer import Diverged, learning_rate
from bench.trial.phases import begin, calls_of, settle

MACS = 8 * 9 * 64 + 6 * 8 * 9 * 64 + 6 * 4  # of `Small`
NARROW = 4 * 9 * 64 + 3 * 4 * 9 * 64 + 3 * 4  # with 4 and 3 channels
HALF = {"conv1": torch.tensor([0, 2, 4, 6]), "conv2": torch.tensor([1, 3, 5])}
EPOCH = 96  # training images, six steps of 16

Make = Callable[..., Trial]


def tensors(trial: Trial) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trial.network.state_dict().items()}


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def counts(trial: Trial, phase: str) -> tuple[int, int, int]:
    spent = trial.ledger.phases[phase]  # type: ignore[index]
    return spent.images_forward, spent.images_trained, spent.macs


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


# -- train --------------------------------------------------------------------------------------------------------


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


# -- unstructured masks -------------------------------------------------------------------------------------------


def first_half_off(trial: Trial) -> Tensor:
    mask = torch.ones_like(trial.network.conv2.weight, dtype=torch.bool)
    mask[:, :4] = False
    trial.surgery.weights.set({"conv2.weight": mask})
    return mask


def test_masked_weights_stay_zero_through_training(make_trial: Make) -> None:
    trial = make_trial(weight_decay=0.01)
    trial.train(epochs=1)  # momenta that would move them
    mask = first_half_off(trial)
    trial.train(epochs=1)
    weight = trial.network.conv2.weight.detach()
    assert bool((weight[~mask] == 0).all())
    assert bool((weight[mask] != 0).all())


def test_straight_through_weights_keep_their_values_and_are_trained_while_masked(make_trial: Make) -> None:
    trial = make_trial()
    seen: list[tuple[Tensor, Tensor]] = []

    class Splicing(Hook):
        def before_step(self, step: Step) -> None:
            self.before = step.network.conv2.weight.detach().clone()

        def after_step(self, step: Step) -> None:
            seen.append((self.before, step.network.conv2.weight.detach().clone()))

    mask = first_half_off(trial)
    trial.surgery.weights.straight_through = True
    trial.train(epochs=1, hooks=[Splicing()])
    assert all(bool((before[~mask] != 0).all()) for before, _ in seen)
    assert not torch.equal(seen[0][0][~mask], seen[-1][1][~mask])


def test_evaluation_is_of_the_masked_network_and_leaves_straight_through_weights(make_trial: Make) -> None:
    trial = make_trial()
    trial.train(epochs=3)
    first_half_off(trial)
    trial.surgery.weights.straight_through = True
    before = tensors(trial)
    soft = trial.evaluate()
    assert equal(before, tensors(trial))
    trial.surgery.weights.straight_through = False
    assert trial.evaluate() == soft


def test_a_hook_may_set_the_masks(make_trial: Make) -> None:
    class Growing(Hook):
        def after_step(self, step: Step) -> None:
            mask = torch.ones(4, 6, dtype=torch.bool)
            mask.view(-1)[: step.index + 1] = False
            step.weights.set({"fc.weight": mask})

    trial = make_trial()
    trial.train(epochs=1, hooks=[Growing()])
    assert trial.surgery.weights.total - trial.surgery.weights.remaining() == 6


# -- evaluate and probe -------------------------------------------------------------------------------------------


def test_evaluation_is_charged_each_image_once_recalibration_included(make_trial: Make) -> None:
    trial = make_trial()
    assert trial.evaluate(images=10, recalibrate=False).images == 10
    assert counts(trial, "search") == (10, 0, 10 * MACS)
    assert trial.evaluate(images=10).images == 10
    assert counts(trial, "search") == (20 + EPOCH, 0, (20 + EPOCH) * MACS)
    assert trial.evaluate(images=10**6, recalibrate=False).images == 32


def test_evaluation_sees_validation_images_only_and_a_trial_has_no_others(make_trial: Make) -> None:
    trial = make_trial()
    assert len(trial._passes.data.test) == 0
    assert trial.surgery.macs == MACS  # counting runs the network's own hooks, too
    seen: list[Tensor] = []
    assert trial.surgery.macs == MACS  # counted once, on a copy, which has the network's own hooks
    handle = trial.network.fc.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    found = trial.evaluate(recalibrate=False)
    handle.remove()
    outputs = torch.cat(seen)
    right = (outputs.argmax(1) == trial._passes.data.validation.labels).float().mean()
    assert len(outputs) == len(trial._passes.data.validation)
    assert found.top1 == pytest.approx(float(right))


@pytest.mark.parametrize("recalibrate", [True, False])
def test_evaluation_leaves_the_network_as_it_was_bitwise(make_trial: Make, recalibrate: bool) -> None:
    trial = make_trial()
    trial.train(epochs=1)
    before = tensors(trial)
    trial.evaluate(recalibrate=recalibrate)
    assert equal(before, tensors(trial))
    assert not trial.network.training


def test_recalibrated_accuracy_is_that_of_fresh_statistics(make_trial: Make) -> None:
    trial = make_trial()
    trial.train(epochs=3)
    fresh = trial.evaluate(recalibrate=True)
    settle(trial)
    with torch.no_grad():
        with collecting(trial.network):
            for images, _ in trial._passes.data.plain_training_batches():
                trial.network(images)
        images, labels = next(trial._passes.data.validation_batches())
        loss = functional.cross_entropy(trial.network(images), labels)
    assert fresh.loss == pytest.approx(float(loss), rel=1e-5)


def test_search_beyond_its_share_is_refused_and_costs_nothing(make_trial: Make) -> None:
    trial = make_trial(budget=1.0, search_share=0.1)  # 0.1 * 3 * 96 images forward
    trial.evaluate(images=20, recalibrate=False)
    with pytest.raises(BudgetSpent, match=r"search's share of the budget is spent.*trial.affordable"):
        trial.evaluate(images=9, recalibrate=False)
    with pytest.raises(BudgetSpent):
        trial.probe(lambda seen: {}, images=9)
    assert counts(trial, "search") == (20, 0, 20 * MACS)
    trial.evaluate(images=8, recalibrate=False)


def test_a_probe_averages_over_images_whatever_the_batches(make_trial: Make) -> None:
    trial = make_trial()
    seen: list[int] = []

    def reduce(activations: Mapping[str, Tensor]) -> dict[str, Tensor]:
        seen.append(len(activations["fc"]))
        return {"mean": activations["fc"].mean(0)}

    found = trial.probe(reduce, images=40, at=["fc"])
    settle(trial)
    with torch.no_grad():
        outputs = torch.cat(
            [trial.network(images) for images, _ in trial._passes.data.plain_training_batches(images=40)]
        )
    assert sum(seen) == 40
    torch.testing.assert_close(found["mean"], outputs.mean(0))
    assert counts(trial, "search") == (40, 0, 40 * MACS)


def test_a_probe_looks_at_the_layers_of_all_groups_by_default(make_trial: Make) -> None:
    trial = make_trial()
    found = trial.probe(lambda seen: {name: value.mean((0, 2, 3)) for name, value in seen.items()}, images=8)
    assert {name: value.shape for name, value in found.items()} == {"conv1": (8,), "conv2": (6,)}
    assert not any(module._forward_hooks for module in trial.network.modules())


def test_a_recalibrated_probe_sees_fresh_statistics_at_their_charge_and_leaves_the_old_ones(
    make_trial: Make,
) -> None:
    trial = make_trial()
    before = tensors(trial)

    def spread(activations: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"spread": activations["bn1"].square().mean()}

    stale = trial.probe(spread, images=EPOCH, at=["bn1"])["spread"]
    fresh = trial.probe(spread, images=EPOCH, at=["bn1"], recalibrate=True)["spread"]
    assert float(fresh) == pytest.approx(1, abs=0.02)  # normalised, which untrained statistics do not do
    assert abs(float(stale) - 1) > 0.1
    assert counts(trial, "search") == (3 * EPOCH, 0, 3 * EPOCH * MACS)
    assert equal(before, tensors(trial))


def test_a_price_is_what_an_evaluation_will_cost(make_trial: Make) -> None:
    trial = make_trial()
    for recalibrate in (True, False):
        before, price = trial.ledger.search_left, trial.price(10, recalibrate)
        trial.evaluate(images=10, recalibrate=recalibrate)
        assert before - trial.ledger.search_left == pytest.approx(price)
    assert make_trial(unit="device_seconds").price(10) == 0


@pytest.mark.parametrize("target", ["macs=0.5", "params=0.5"])
def test_shares_at_widths_are_those_of_channels_kept(make_trial: Make, target: str) -> None:
    trial = make_trial(target=target)
    assert [group.width for group in trial.surgery.groups] == [8, 6]
    keep = {"conv1": torch.arange(3), "conv2": torch.arange(5)}
    assert trial.surgery.ratios_at(np.array([[8, 6], [3, 5]])).tolist() == [1.0, trial.surgery.ratio(keep)]
    trial.surgery.remove(keep)
    assert trial.surgery.ratios_at(np.array([[3, 5]])).tolist() == [trial.surgery.ratio()]


@pytest.mark.parametrize("call", ["evaluate", "probe"])
def test_looking_at_no_image_is_refused(make_trial: Make, call: str) -> None:
    trial = make_trial()
    with pytest.raises(UsageError, match="images=0: use one image or more"):
        trial.evaluate(images=0, recalibrate=False) if call == "evaluate" else trial.probe(lambda seen: {}, images=0)


def test_what_is_logged_stands_on_the_curve_beside_what_was_spent(make_trial: Make) -> None:
    trial = make_trial()
    trial.train(epochs=2)
    trial.log(reward=0.25, entropy=3)
    point = calls_of(trial).curve[-1]
    assert (point.phase, point.epoch, point.spent) == ("search", 2.0, pytest.approx(2.0))
    assert point.values == {"reward": 0.25, "entropy": 3.0}
    assert [each.phase for each in calls_of(trial).curve] == ["prune", "prune", "search"]
    assert calls_of(trial).curve[1].values["macs"] == MACS
    assert 0 <= (calls_of(trial).curve[1].values["top1_val"] or 0) <= 1


# -- surgery ------------------------------------------------------------------------------------------------------


def test_masks_are_undone_bitwise_also_when_the_method_fails_inside(make_trial: Make) -> None:
    trial = make_trial()
    before = tensors(trial)
    whole = trial.evaluate(recalibrate=False)
    with trial.surgery.masked(HALF):
        assert trial.evaluate(recalibrate=False).loss != whole.loss
    assert equal(before, tensors(trial))
    with pytest.raises(KeyError), trial.surgery.masked(HALF):
        raise KeyError
    assert equal(before, tensors(trial))
    trial.train(epochs=1)


def test_a_masked_network_costs_what_it_costs_unmasked(make_trial: Make) -> None:
    trial = make_trial()
    with trial.surgery.masked(HALF):
        trial.evaluate(images=8, recalibrate=False)
    assert counts(trial, "search") == (8, 0, 8 * MACS)


@pytest.mark.parametrize(
    "work", [lambda trial: trial.train(epochs=1), lambda trial: trial.surgery.remove(HALF)], ids=["train", "remove"]
)
def test_training_or_removing_inside_masked_is_refused(make_trial: Make, work: Callable[[Trial], object]) -> None:
    trial = make_trial()
    with trial.surgery.masked(HALF), pytest.raises(SurgeryError, match=r"inside surgery.masked\(\)"):
        work(trial)


def test_after_a_removal_every_image_costs_the_narrower_network(make_trial: Make) -> None:
    trial = make_trial()
    trial.surgery.remove(HALF)
    assert trial.surgery.macs == NARROW
    assert [group.width for group in trial.surgery.groups] == [4, 3]
    trial.evaluate(images=8, recalibrate=False)
    trial.train(epochs=0.5)
    assert counts(trial, "search") == (8, 0, 8 * NARROW)
    assert counts(trial, "prune") == (0, 48, 3 * 48 * NARROW)


def test_a_removal_gives_what_the_mask_promised(make_trial: Make) -> None:
    trial = make_trial()
    trial.train(epochs=2)
    with trial.surgery.masked(HALF):
        promised = trial.evaluate(recalibrate=False)
    trial.surgery.remove(HALF)
    assert trial.evaluate(recalibrate=False).loss == pytest.approx(promised.loss, rel=1e-4)


def test_a_removal_slices_the_momentum_with_the_weights(make_trial: Make) -> None:
    trial = make_trial()
    trial.train(epochs=1)
    before = calls_of(trial).optimiser.state["conv2.weight"]["momentum_buffer"]
    trial.surgery.remove(HALF)
    after = calls_of(trial).optimiser.state["conv2.weight"]["momentum_buffer"]
    assert torch.equal(after, before[HALF["conv2"]][:, HALF["conv1"]])
    trial.train(epochs=1)


def test_an_empty_group_is_refused_and_nothing_has_changed(make_trial: Make) -> None:
    trial = make_trial()
    before = tensors(trial)
    with pytest.raises(SurgeryError, match=r"'conv1' .*would be empty"):
        trial.surgery.remove({"conv1": torch.tensor([], dtype=torch.long)})
    assert equal(before, tensors(trial))


def test_a_target_below_one_channel_a_group_is_not_prunable(make_trial: Make) -> None:
    with pytest.raises(NotPrunable, match="cannot come down"):
        make_trial(target="macs=0.0001").surgery.fit()


# -- determinism --------------------------------------------------------------------------------------------------


def everything(trial: Trial) -> None:
    trial.train(epochs=1)
    trial.evaluate()
    trial.probe(lambda seen: {name: value.mean() for name, value in seen.items()}, images=8)
    trial.surgery.remove(HALF)
    trial.train(share=0.2)


def test_the_trials_calls_leave_the_global_generators_alone(make_trial: Make) -> None:
    trial = make_trial()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    everything(trial)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state()) == str(before[2])  # noqa: NPY002


def test_a_method_that_reseeds_the_global_generators_gets_the_same_network(make_trial: Make) -> None:
    made = []
    for reseed in (1, 2):
        trial = make_trial()
        torch.manual_seed(reseed)
        random.seed(reseed)
        everything(trial)
        made.append(tensors(trial))
    assert equal(*made)


def test_the_seed_decides_the_order_of_training(make_trial: Make) -> None:
    network = make_trial().network.state_dict()
    made = []
    for seed in (1, 2):
        trial = make_trial(seed=seed)
        settle(trial)
        trial.network.load_state_dict(network)
        begin(trial)
        trial.train(epochs=1)
        made.append(tensors(trial))
    assert not equal(*made)


# -- time ---------------------------------------------------------------------------------------------------------


def test_the_time_of_the_methods_own_python_is_charged_to_it(make_trial: Make) -> None:
    trial = make_trial(unit="device_seconds", budget=60.0)
    time.sleep(0.2)
    trial.evaluate(images=1)
    assert trial.ledger.phases["prune"].device_seconds >= 0.2
    time.sleep(0.1)
    settle(trial)
    assert trial.ledger.phases["prune"].device_seconds >= 0.3
    assert trial.ledger.spent == trial.ledger.total.device_seconds


def test_a_budget_in_seconds_that_is_spent_ends_training_and_search(make_trial: Make) -> None:
    trial = make_trial(unit="device_seconds", budget=0.3)
    assert trial.train(epochs=10**6).epochs  # which would take days
    time.sleep(0.3)
    with pytest.raises(BudgetSpent):
        trial.evaluate(images=1)
    assert trial.train(epochs=1).epochs == ()


def test_the_harness_own_looks_are_not_on_the_methods_clock(make_trial: Make, monkeypatch: Any) -> None:
    trial = make_trial(unit="device_seconds", budget=60.0)
    look = trial._passes.look

    def slow() -> Any:
        time.sleep(0.5)
        return look()

    monkeypatch.setattr(trial._passes, "look", slow)
    begun = time.perf_counter()
    trial.train(epochs=1)
    settle(trial)
    assert trial.ledger.spent <= time.perf_counter() - begun - 0.5


# -- one schedule over several calls ------------------------------------------------------------------------------


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


# -- training images ----------------------------------------------------------------------------------------------


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


# -- practice -----------------------------------------------------------------------------------------------------


def test_practice_leaves_the_network_as_it_was_and_is_charged(make_trial: Make) -> None:
    trial = make_trial(budget=6.0)
    before = tensors(trial)
    with trial.practice(share=0.5) as practice:
        assert practice.ledger.left == 3.0
        practice.train(share=1 / 3)
        practice.surgery.remove(HALF)
        practice.evaluate(images=10, recalibrate=False)
        assert practice.surgery.macs == NARROW
        assert practice.ledger.left == pytest.approx(2 - 10 * NARROW / (3 * EPOCH * MACS))
    assert equal(before, tensors(trial))
    assert trial.surgery.macs == MACS
    assert counts(trial, "prune") == (0, EPOCH, 3 * EPOCH * MACS)
    assert counts(trial, "search") == (10, 0, 10 * NARROW)
    assert trial.history.epochs == () and calls_of(trial).curve == []
    assert len(trial.train(epochs=1).epochs) == 1


def test_practice_may_see_the_first_classes_only(make_trial: Make) -> None:
    trial = make_trial()
    seen: set[int] = set()

    class Labels(Hook):
        def after_step(self, step: Step) -> None:
            seen.update(step.labels.tolist())

    with trial.practice(share=0.5, classes=2) as practice:
        practice.train(epochs=1, hooks=[Labels()])
        assert counts(practice, "prune")[1] == int((trial._passes.data.train.labels < 2).sum())
        assert practice.training_images().labels.unique().tolist() == [0, 1]
        assert practice.evaluate().images == int((trial._passes.data.validation.labels < 2).sum())
    assert seen == {0, 1}
    trial.train(epochs=1, hooks=[Labels()])
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("classes", [0, 5])
def test_practice_on_classes_that_there_are_not_is_refused(make_trial: Make, classes: int) -> None:
    with pytest.raises(UsageError, match="patterns has 4"), make_trial().practice(0.5, classes=classes):
        pass


def test_practice_has_no_more_than_its_share_nor_than_what_is_left(make_trial: Make) -> None:
    trial = make_trial(budget=4.0)
    with trial.practice(share=0.75) as practice:
        practice.train(epochs=10)
    with trial.practice(share=0.75) as practice:
        practice.train(epochs=10)
        assert practice.ledger.left == 0
    assert trial.ledger.left == 0
    assert counts(trial, "prune")[1] == 4 * EPOCH


def test_two_practices_train_in_another_order(make_trial: Make) -> None:
    trial, ends = make_trial(), []
    for _ in range(2):
        with trial.practice(share=0.3) as practice:
            practice.train(epochs=1)
            ends.append(tensors(practice))
    assert not equal(*ends)


def test_the_trial_itself_waits_while_it_practises(make_trial: Make) -> None:
    trial = make_trial()
    with trial.practice(share=0.5), pytest.raises(RuntimeError, match="while it practises"):
        trial.train(epochs=1)


def test_practice_after_training_is_refused(make_trial: Make) -> None:
    trial = make_trial()
    trial.train(epochs=1)
    with pytest.raises(SurgeryError, match="before the first training"), trial.practice(share=0.5):
        pass


def test_work_behind_a_practices_back_is_found(make_trial: Make) -> None:
    trial = make_trial()
    with pytest.raises(GuardViolation), trial.practice(share=0.5) as practice, torch.no_grad():
        practice.network.fc.weight.add_(1.0)
    assert len(calls_of(trial).guard.violations) == 1
