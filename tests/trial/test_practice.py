"""Practice: a charged trial on a copy, of which nothing stays."""

import pytest
import torch
from small_trial import EPOCH, HALF, MACS, NARROW, Make, counts, equal, tensors

from bench import Hook, Step, SurgeryError, UsageError
from bench.errors import GuardViolation
from bench.trial.phases import calls_of


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
