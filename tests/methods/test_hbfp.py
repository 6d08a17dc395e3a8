"""HBFP: pairing by hand, the regulariser's gradient, rounds, residual groups and the target auto."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import Record, Trial
from bench.methods.hbfp import HBFP, FilterNorms, HBFPConfig, Pairing, PairLoss, pair_filters

NEAR = [[1.0, 1.1, 1.25, 9.0]]  # distances: 01 0.1, 12 0.15, 02 0.25, 23 7.75, ...


def paired(norms: list[list[float]], **settings: Any) -> Pairing:
    """From norms by epoch, for one layer."""
    return pair_filters(torch.tensor(norms)[:, None], HBFPConfig(**settings))


def test_each_pairs_filter_with_the_smaller_final_norm_goes() -> None:
    found = paired([[1.0, 1.1, 5.0, 5.0, 9.0, 20.0], [1.0, 1.05, 5.0, 5.3, 9.0, 20.0]], pairs=0.5)
    assert found.pairs.tolist() == [[0, 1], [2, 3], [3, 4]]  # D = 0.15, 0.3, 7.7
    assert found.dropped == (0, 2, 3)


def test_filters_in_overlapping_pairs_go_once_and_one_of_each_linked_set_stays() -> None:
    found = paired(NEAR, pairs=0.75)
    assert found.pairs.tolist() == [[0, 1], [1, 2], [0, 2]]
    assert found.dropped == (0, 1)


def test_the_ranking_goes_on_to_the_last_filter() -> None:
    assert paired(NEAR, pairs=0.25).dropped == (0,)
    assert paired(NEAR, pairs=0.25).ranking.tolist() == [0.0, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(("width", "share", "pairs"), [(4, 0.3, 1), (20, 0.3, 6), (50, 0.3, 15), (3, 0.3, 0)])
def test_a_round_takes_the_share_of_pairs_rounded_down(width: int, share: float, pairs: int) -> None:
    norms = torch.rand(1, 1, width, generator=torch.Generator().manual_seed(0))
    assert len(pair_filters(norms, HBFPConfig(pairs=share)).pairs) == pairs


def test_the_released_code_drops_the_larger_of_each_pair() -> None:
    assert paired(NEAR, pairs=0.75, drop="larger").dropped == (1, 2)


def test_the_released_code_also_drops_the_first_of_every_pair() -> None:
    assert paired(NEAR, pairs=0.75, drop="larger", overlap="first").dropped == (1, 2, 0)
    assert len(paired(NEAR, pairs=1.0, drop="larger", overlap="first").dropped) <= 3


def test_squared_distances_weigh_one_large_gap_more_than_two_small_ones() -> None:
    norms = [[10.0, 13.0, 8.0], [10.0, 10.0, 8.0]]  # 01: 3 or 9, 02: 4 or 8
    assert paired(norms, pairs=0.34).pairs.tolist() == [[0, 1]]
    assert paired(norms, pairs=0.34, distance="squared").pairs.tolist() == [[0, 2]]


def test_similar_final_norms_are_no_pair_when_the_ways_there_differ() -> None:
    assert paired([[1.0, 9.0, 1.5], [5.0, 5.0, 6.0]], pairs=0.34).pairs.tolist() == [[0, 2]]


def test_tied_layers_are_compared_over_all_of_them() -> None:
    norms = torch.tensor([[[1.0, 1.0, 5.0], [1.0, 9.0, 1.5]]])  # one epoch, two layers
    assert pair_filters(norms, HBFPConfig(pairs=0.34)).pairs.tolist() == [[0, 2]]


# -- the regulariser ----------------------------------------------------------------------------------------------


def gap(weight: Tensor) -> Tensor:
    norms = weight.abs().flatten(1).mean(1)
    return (norms[0] - norms[1]).abs()


def loss_of(trial: Trial, strength: float, sign: int) -> Tensor:
    """The loss with the first two filters of conv1 paired, where cross-entropy is that of four equal outputs."""
    pairing = Pairing(torch.tensor([[0, 1]]), (0,), torch.zeros(8))
    loss = PairLoss(trial.surgery.groups, {"conv1": pairing}, strength, sign)
    return loss(trial.network, torch.zeros(2, 4), torch.tensor([0, 1]))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_loss_is_cross_entropy_plus_the_exponential_of_the_gap(make_trial: Callable[..., Trial], sign: int) -> None:
    trial = make_trial()
    expected = math.log(4) + 0.5 * math.exp(sign * gap(trial.network.conv1.weight).item())
    assert loss_of(trial, 0.5, sign).item() == pytest.approx(expected)


@pytest.mark.parametrize(("sign", "closer"), [(1, True), (-1, False)])
def test_one_step_down_the_gradient_pulls_the_pair_together_or_with_the_other_sign_apart(
    make_trial: Callable[..., Trial], sign: int, closer: bool
) -> None:
    trial = make_trial()
    weight = trial.network.conv1.weight
    (gradient,) = torch.autograd.grad(loss_of(trial, 1.0, sign), weight)
    assert gradient[:2].abs().min() > 0
    assert gradient[2:].abs().max() == 0
    stepped = weight.detach() - 0.01 * gradient
    assert bool(gap(stepped) < gap(weight.detach())) == closer


def test_without_pairs_the_loss_is_cross_entropy(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    loss = PairLoss(trial.surgery.groups, {"conv1": paired([[1.0] * 8], pairs=0.01)}, 1.0, 1)
    assert loss(trial.network, torch.zeros(2, 4), torch.tensor([0, 1])).item() == pytest.approx(math.log(4))


# -- the method ---------------------------------------------------------------------------------------------------


def pruned(trial: Trial, **settings: Any) -> list[tuple[str, Any]]:
    """Runs the method; its calls of `train` (with the loss) and `remove` (with the widths), in order."""
    trial.config = HBFPConfig(**settings)
    trial._training.observers = [FilterNorms()]
    calls: list[tuple[str, Any]] = []
    train, remove = trial.train, trial.surgery.remove

    def told_train(*words: Any, loss: Any = None, **more: Any) -> Any:
        calls.append(("train", loss))
        return train(*words, loss=loss, **more)

    def told_remove(keep: Any) -> None:
        calls.append(("remove", {name: len(kept) for name, kept in keep.items()}))
        remove(keep)

    trial.train, trial.surgery.remove = told_train, told_remove  # type: ignore[method-assign]
    HBFP().prune(trial)
    return calls


def test_rounds_of_optimise_remove_and_retrain_end_at_the_target(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(target="macs=0.25")
    calls = pruned(trial)
    assert [name for name, _ in calls] == ["train", "remove", "train"] * 3 + ["train", "remove"]
    widths = [what for name, what in calls if name == "remove"]
    assert [(each["conv1"], each["conv2"]) for each in widths] == [(6, 5), (5, 4), (4, 3), (3, 3)]
    assert trial.ledger.left > 0


def test_the_regulariser_is_live_while_optimising_and_absent_while_retraining(
    make_trial: Callable[..., Trial],
) -> None:
    losses = [what for name, what in pruned(make_trial(target="macs=0.25")) if name == "train"]
    assert all(isinstance(loss, PairLoss) for loss in losses[::2])
    assert losses[1::2] == [None] * 3


def test_with_the_regulariser_off_all_training_is_plain(make_trial: Callable[..., Trial]) -> None:
    calls = pruned(make_trial(target="macs=0.25"), regulariser="off")
    assert all(what is None for name, what in calls if name == "train")


def test_without_optimising_there_is_only_retraining(make_trial: Callable[..., Trial]) -> None:
    calls = pruned(make_trial(target="macs=0.25"), optimise=0.0)
    assert [name for name, _ in calls] == ["remove", "train"] * 3 + ["remove"]


class Residual(nn.Module):
    """A stem and one identity block: stem and conv2 are tied, conv1 is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.conv1 = nn.Conv2d(8, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images).relu()
        return self.fc((hidden + self.conv2(self.conv1(hidden).relu())).relu().mean((2, 3)))


def test_layers_that_an_add_ties_lose_the_same_channels(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(Residual())
    assert [group.layers for group in trial.surgery.groups] == [("stem", "conv2"), ("conv1",)]
    pruned(trial)
    assert trial.network.stem.out_channels == trial.network.conv2.out_channels < 8
    assert trial.network.conv1.out_channels < 6


def test_inner_leaves_tied_layers_alone(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(Residual())
    pruned(trial, groups="inner")
    assert trial.network.stem.out_channels == 8
    assert trial.network.conv1.out_channels < 6
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.1)


def test_the_observer_gives_each_layers_norms(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(Residual())
    seen = FilterNorms().observe(trial.network, trial.surgery.groups)
    assert {name: norms.shape for name, norms in seen.items()} == {"stem": (2, 8), "conv1": (1, 6)}
    assert seen["stem"][1, 3] == pytest.approx(trial.network.conv2.weight[3].detach().abs().sum().item())


def test_a_run_pairs_from_the_dense_trainings_history(run: Callable[..., Record]) -> None:
    record = run("hbfp")
    assert record.status == "ok"
    assert record.ledger["prune"].images_trained > 0
    assert record.config["pairs"] == 0.3


def test_the_target_auto_stops_by_itself(run: Callable[..., Record]) -> None:
    record = run("hbfp", "auto", settings=("max_drop=0.02",))
    assert record.status == "ok", record.error
    assert record.ratios is not None
    assert record.ratios.filters_removed > 0
    assert record.ledger["search"].images_forward > 0
