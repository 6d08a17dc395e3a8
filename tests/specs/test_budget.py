"""Budgets, the ledger's arithmetic, and a run's ledger recounted by hand from the architecture."""

from collections.abc import Callable

import pytest
import torch

from bench import Method, Record, Trial, UsageError
from bench.specs.budget import Amount, Budget, BudgetOverride, Ledger

EPOCH_MACS = 300


@pytest.fixture
def ledger() -> Ledger:
    """10 dense epochs of 300 MACs each, 4 of them spent on the dense network; a quarter of the rest may be searched."""
    ledger = Ledger(Budget(10, "dense_epochs", EPOCH_MACS), search_share=0.25)
    ledger.charge("dense", Amount(steps=8, images_trained=400, macs=4 * EPOCH_MACS, device_seconds=2.0))
    return ledger


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("30ep", 30.0, "dense_epochs"),
        ("0.5ep", 0.5, "dense_epochs"),
        (" 600s ", 600.0, "device_seconds"),
        ("1.5s", 1.5, "device_seconds"),
        ("dense_epochs", None, "dense_epochs"),
        ("device_seconds", None, "device_seconds"),
    ],
)
def test_a_budget_is_read_from_text(text: str, amount: float | None, unit: str) -> None:
    assert BudgetOverride.parse(text) == BudgetOverride(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "30", "ep", "0ep", "-3ep", "30 epochs", "nan s", "infs", "1e3ep", "9" * 400 + "s"]
)
def test_a_budget_that_is_no_positive_amount_of_a_known_unit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="use a positive number of dense epochs"):
        BudgetOverride.parse(text)


def test_what_is_spent_is_in_the_budgets_own_unit() -> None:
    amount = Amount(macs=450, device_seconds=7.0)
    assert Budget(10, "dense_epochs", EPOCH_MACS).spent(amount) == 1.5
    assert Budget(10, "device_seconds", EPOCH_MACS).spent(amount) == 7.0


def test_the_methods_part_is_the_budget_without_the_dense_training(ledger: Ledger) -> None:
    assert (ledger.spent, ledger.left, ledger.pruning) == (4.0, 6.0, 6.0)
    ledger.charge("prune", Amount(macs=2 * EPOCH_MACS))
    assert (ledger.spent, ledger.left, ledger.pruning) == (6.0, 4.0, 6.0)


def test_search_takes_at_most_its_share_of_the_methods_part_and_of_what_is_left(ledger: Ledger) -> None:
    assert ledger.search_left == 1.5
    ledger.charge("search", Amount(macs=EPOCH_MACS))
    assert ledger.search_left == 0.5
    ledger.charge("prune", Amount(macs=int(4.75 * EPOCH_MACS)))
    assert ledger.search_left == ledger.left == 0.25


def test_nothing_is_ever_less_than_nothing_left(ledger: Ledger) -> None:
    ledger.charge("prune", Amount(macs=100 * EPOCH_MACS))
    assert ledger.left == 0.0
    assert ledger.search_left == 0.0


def test_the_total_is_the_sum_over_the_phases_in_every_unit(ledger: Ledger) -> None:
    ledger.charge("search", Amount(images_forward=7, macs=70, device_seconds=0.5))
    ledger.charge("search", Amount(images_forward=3, macs=30, device_seconds=0.5))
    rows = ledger.as_dict()
    assert rows["search"] == {
        "steps": 0,
        "images_forward": 10,
        "images_trained": 0,
        "macs": 100,
        "device_seconds": 1.0,
    }
    assert rows["total"] == {
        "steps": 8,
        "images_forward": 10,
        "images_trained": 400,
        "macs": 4 * EPOCH_MACS + 100,
        "device_seconds": 3.0,
    }


# -- a whole run, recounted ---------------------------------------------------------------------------------------

TRAINING_IMAGES, BATCH = 1397 - 800, 32
DENSE_EPOCHS, BUDGET_EPOCHS = 2, 4


def lenet5_macs(first: int, second: int) -> int:
    """28x28: 5x5 convolution to 24x24, pooled to 12x12; 5x5 to 8x8, pooled to 4x4; 500; 10."""
    return first * 25 * 24 * 24 + second * first * 25 * 8 * 8 + second * 16 * 500 + 500 * 10


def taken(allowed: int) -> tuple[int, int]:
    """Images and steps of one training call: whole batches, in epochs, as long as the next one fits."""
    images = steps = 0
    while True:
        for first in range(0, TRAINING_IMAGES, BATCH):
            batch = min(BATCH, TRAINING_IMAGES - first)
            if images + batch > allowed:
                return images, steps
            images, steps = images + batch, steps + 1


class TwoRemovals(Method):
    """Train, remove, train, remove, evaluate."""

    name = "two-removals"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """Each step's cost is counted by hand below."""
        trial.train(epochs=1)
        trial.surgery.remove({"conv1": torch.arange(12), "conv2": torch.arange(40)})
        trial.train(epochs=0.5)
        trial.surgery.remove({"conv1": torch.arange(9), "conv2": torch.arange(30)})
        trial.evaluate(images=150)
        trial.probe(lambda seen: {name: values.mean() for name, values in seen.items()}, images=70)


def test_a_run_is_charged_the_macs_of_the_architecture_that_really_ran(run: Callable[..., Record]) -> None:
    record = run(TwoRemovals, "macs=0.36")
    dense, once, twice = lenet5_macs(20, 50), lenet5_macs(12, 40), lenet5_macs(9, 30)
    assert dense == 2_293_000
    assert record.dense is not None
    assert record.pruned is not None
    assert (record.dense.macs, record.pruned.macs) == (dense, twice)

    budget = BUDGET_EPOCHS * 3 * dense * TRAINING_IMAGES
    images, steps = taken(DENSE_EPOCHS * TRAINING_IMAGES)
    expected = {"dense": {"steps": steps, "images_forward": 0, "images_trained": images, "macs": 3 * dense * images}}
    half, half_steps = taken(round(TRAINING_IMAGES / 2))
    expected["prune"] = {
        "steps": 19 + half_steps,
        "images_forward": 0,
        "images_trained": TRAINING_IMAGES + half,
        "macs": 3 * dense * TRAINING_IMAGES + 3 * once * half,
    }
    expected["search"] = {"steps": 0, "images_forward": 220, "images_trained": 0, "macs": 220 * twice}
    left = budget - sum(phase["macs"] for phase in expected.values())
    images, steps = taken(left // (3 * twice))
    expected["finetune"] = {"steps": steps, "images_forward": 0, "images_trained": images, "macs": 3 * twice * images}
    expected["total"] = {key: sum(phase[key] for phase in expected.values()) for key in expected["dense"]}

    counted = {name: spent.model_dump(exclude={"device_seconds"}) for name, spent in record.ledger.items()}
    assert counted == expected
    assert 0 <= budget - expected["total"]["macs"] < 3 * twice * BATCH
    assert record.budget.dense_epoch_macs == 3 * dense * TRAINING_IMAGES
