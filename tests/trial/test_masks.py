"""Unstructured masks: through training, evaluation and hooks."""

import torch
from small_trial import Make, equal, tensors
from torch import Tensor

from bench import Hook, Step, Trial


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


def test_looks_are_at_the_masked_network_and_leave_its_weights(make_trial: Make) -> None:
    """A journal keeps no network for a look: one that changed it would not replay."""
    trial = make_trial()
    trial.train(epochs=3)
    unmasked = trial.gradients(8)
    first_half_off(trial)
    before, seen = tensors(trial), []
    for straight_through in (True, False):
        trial.surgery.weights.straight_through = straight_through
        flow = trial.gradients(1, lambda _net, outputs, _labels: outputs.sum(), inputs="ones", absolute=True)
        seen.append((trial.evaluate(8), trial.gradients(8), flow))
        assert equal(before, tensors(trial))
    (soft, *gradients), (hard, *others) = seen
    assert soft == hard
    assert all(map(equal, gradients, others))
    assert not equal(unmasked, gradients[0])


def test_a_hook_may_set_the_masks(make_trial: Make) -> None:
    class Growing(Hook):
        def after_step(self, step: Step) -> None:
            mask = torch.ones(4, 6, dtype=torch.bool)
            mask.view(-1)[: step.index + 1] = False
            step.weights.set({"fc.weight": mask})

    trial = make_trial()
    trial.train(epochs=1, hooks=[Growing()])
    assert trial.surgery.weights.total - trial.surgery.weights.remaining() == 6
