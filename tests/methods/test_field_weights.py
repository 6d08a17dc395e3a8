"""The field's weight criteria against cases worked out by hand, and what their runs leave."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Size, Tensor

from bench import Record, Trial, UsageError
from bench.methods._erk import erk_counts
from bench.methods.lamp import Lamp, lamp_scores
from bench.methods.nm import NM, NMConfig, nm_mask
from bench.methods.random_erk import RandomERK
from bench.methods.rigl import RigL, RigLConfig, moved_share, updated_mask

Make = Callable[..., Trial]


def test_lamp_scores_by_hand() -> None:
    # squares 1, 4, 9: 1 / 14, 4 / 13, 9 / 9
    assert lamp_scores(torch.tensor([[3.0, -1.0], [2.0, 0.0]])).flatten().tolist() == pytest.approx(
        [1.0, 1 / 14, 4 / 13, 0.0]
    )


def test_lamp_as_numpy_has_it() -> None:
    weights = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    squares = weights.numpy().astype(np.float64) ** 2
    wanted = [value / squares[squares >= value].sum() for value in squares.flatten()]
    assert lamp_scores(weights).flatten().tolist() == pytest.approx(wanted)


def test_lamp_spares_a_layer_of_small_weights(make_trial: Make) -> None:
    trial = make_trial(target="params=0.3")
    with torch.no_grad():
        trial.network.conv1.weight.mul_(1e-3)  # a threshold over magnitudes would empty it
    Lamp().prune(trial)
    masks = trial.surgery.weights.masks
    assert int(masks["conv1.weight"].sum()) > 5
    assert masks["fc.bias"].all()


def test_densities_of_erdos_renyi_kernel_by_hand() -> None:
    shapes = {"a": Size([4, 2, 3, 3]), "b": Size([8, 4, 1, 1])}
    # raw densities 12 / 72 and 14 / 32; 12 eps + 14 eps = 26, so eps = 1
    assert erk_counts(shapes, 26) == {"a": 12, "b": 14}
    # eps = 3 would want 42 of b's 32: b whole, the rest is a's
    assert erk_counts(shapes, 78) == {"a": 46, "b": 32}


@pytest.mark.parametrize("keep", [2, 3, 17, 100, 103, 104, 200])
def test_erk_counts_add_up(keep: int) -> None:
    shapes = {"a": Size([4, 2, 3, 3]), "b": Size([8, 4, 1, 1])}
    counts = erk_counts(shapes, keep)
    assert sum(counts.values()) == min(keep, 104)
    assert all(1 <= counts[name] <= torch.zeros(shapes[name]).numel() for name in shapes)


def test_random_erk_draws_its_counts_from_the_seed_alone(make_trial: Make) -> None:
    def masks(seed: int) -> dict[str, Tensor]:
        trial = make_trial(target="params=0.3", seed=seed)
        RandomERK().prune(trial)
        return trial.surgery.weights.masks

    first = masks(0)
    torch.manual_seed(5)
    again, other = masks(0), masks(1)
    assert all(torch.equal(mask, again[name]) for name, mask in first.items())
    assert any(not torch.equal(mask, other[name]) for name, mask in first.items())
    assert [int(mask.sum()) for mask in first.values()] == [int(mask.sum()) for mask in other.values()]


def test_two_of_four_by_hand() -> None:
    weights = torch.tensor([[1.0, -4.0, 3.0, 2.0, 5.0, 5.0, 5.0, 5.0, 0.1]])
    assert nm_mask(weights, 2, 4).tolist() == [[False, True, True, False, True, True, False, False, True]]
    kernel = torch.randn(3, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    mask = nm_mask(kernel, 2, 4)
    assert (mask.unflatten(1, (2, 4)).sum(2) == 2).all()
    assert nm_mask(torch.ones(3, 1, 5, 5), 2, 4).all()


def test_a_pattern_that_removes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="removes nothing"):
        NMConfig(n=4, m=4)


def test_the_pattern_decides_the_size(run: Callable[..., Record]) -> None:
    record = run("nm", "auto")
    assert record.status == "ok", record.error
    assert record.pruned is not None
    # LeNet-5: conv1 reads one channel and stays whole; half of conv2's 25,000, fc1's 400,000 and fc2's 5,000 go
    assert record.pruned.nonzero == pytest.approx(431_080 - 215_000, abs=2)


def test_nm_has_no_other_target(run: Callable[..., Record]) -> None:
    assert NM.targets == "auto"
    with pytest.raises(UsageError, match="auto"):
        run("nm", "params=0.5")


def test_an_update_drops_the_smallest_and_grows_the_steepest() -> None:
    mask = torch.tensor([True, True, True, False, False])
    weights = torch.tensor([0.5, -0.1, 2.0, 0.0, 0.0])
    gradient = torch.tensor([9.0, 0.2, 9.0, -3.0, 1.0])
    assert updated_mask(mask, weights, gradient, 1).tolist() == [True, False, True, True, False]
    gradient[1] = 4.0  # what has just gone may come back
    assert updated_mask(mask, weights, gradient, 1).tolist() == mask.tolist()
    assert moved_share(0.3, 0.0, 0.75) == pytest.approx(0.3)
    assert moved_share(0.3, 0.375, 0.75) == pytest.approx(0.15)
    assert moved_share(0.3, 0.9, 0.75) == pytest.approx(0.0)


def test_rigl_keeps_its_counts_by_layer_and_moves_its_masks(make_trial: Make) -> None:
    trial = make_trial(target="params=0.3", budget=2.0)
    trial.config = RigLConfig(every=2)
    RandomERK().prune(trial)
    first = trial.surgery.weights.masks
    trial = make_trial(target="params=0.3", budget=2.0)
    trial.config = RigLConfig(every=2)
    RigL().prune(trial)
    last = trial.surgery.weights.masks
    assert [int(mask.sum()) for mask in first.values()] == [int(mask.sum()) for mask in last.values()]
    assert any(not torch.equal(first[name], last[name]) for name in first)
    for name, mask in last.items():
        assert not trial.network.get_parameter(name)[~mask].any()
    assert trial.ledger.left == pytest.approx(0.0, abs=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lamp", "random-erk", "rigl"])
def test_a_run_meets_its_size_with_biases_counted(run: Callable[..., Record], method: str) -> None:
    record = run(method, "params=0.1")
    assert record.status == "ok", record.error
    assert record.pruned is not None
    assert record.pruned.nonzero == pytest.approx(43_108, abs=2)
