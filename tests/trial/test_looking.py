"""Evaluating and probing: what it costs, what it leaves as it was, and what it may see."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from small_trial import EPOCH, MACS, Make, counts, equal, tensors
from torch import Tensor
from torch.nn import functional

from bench import UsageError
from bench.errors import BudgetSpent
from bench.training.batchnorm import collecting
from bench.trial.phases import calls_of, settle


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
