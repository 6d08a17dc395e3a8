"""The trial between its calls: the global generators, and the method's clock."""

import random
import time
from typing import Any

import numpy as np
import pytest
import torch
from small_trial import HALF, Make, equal, tensors

from bench import Trial
from bench.errors import BudgetSpent
from bench.trial.phases import begin, settle

# -- determinism ------------------------------------------------------------------------------------------------------


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


# -- time -------------------------------------------------------------------------------------------------------------


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
