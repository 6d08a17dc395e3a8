"""Trying channels off and removing them: what it costs, what goes along, and what is refused."""

from collections.abc import Callable

import pytest
import torch
from small_trial import HALF, MACS, NARROW, Make, counts, equal, tensors

from bench import NotPrunable, SurgeryError, Trial
from bench.trial.phases import calls_of


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
