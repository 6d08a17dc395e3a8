"""The field's criteria that take gradients, against cases worked out by hand or by plain autograd."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Record, Trial
from bench.methods.grasp import GraSP, GraSPConfig
from bench.methods.imp import IMP, IMPConfig, round_ratios, rounds_for
from bench.methods.synflow import SynFlow, SynFlowConfig, flow_scores
from bench.methods.taylor import Taylor, TaylorConfig, first_to_go, importance
from bench.trial.phases import calls_of

Make = Callable[..., Trial]


def test_taylor_squares_the_sum_over_a_filter_by_hand(with_weights: Make) -> None:
    trial = with_weights(conv1_weight=torch.arange(1.0, 9.0).view(8, 1, 1, 1))
    (first, _) = trial.surgery.groups
    gradient = torch.full((8, 1, 3, 3), 2.0)
    gradient[1, 0, 0] = -2.0  # six of nine weights one way, three the other: 3 x 2 x 2 is left
    assert importance(first, {"conv1.weight": gradient})[:3].tolist() == [18.0**2, 12.0**2, 54.0**2]


def test_taylor_behind_normalisation_is_the_square_of_a_gates_gradient(make_trial: Make) -> None:
    trial = make_trial()
    images, labels = next(iter(trial._passes.data.plain_training_batches(16)))
    calls_of(trial).guard.disarm()
    network, gate = trial.network, torch.ones(8, 1, 1, requires_grad=True)
    with torch.no_grad():
        network.get_parameter("bn1.bias").copy_(torch.linspace(-1, 1, 8))
    handle = network.get_submodule("bn1").register_forward_hook(lambda _module, _inputs, maps: maps * gate)
    loss = functional.cross_entropy(network(images), labels)
    (slope,) = torch.autograd.grad(loss, gate, retain_graph=True)
    named = dict(network.named_parameters())
    gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    handle.remove()
    (first, _) = trial.surgery.groups
    wanted = slope.flatten().square().tolist()
    assert importance(first, gradients, "batchnorm").tolist() == pytest.approx(wanted, rel=1e-3)
    assert importance(first, gradients).tolist() != pytest.approx(wanted, rel=1e-3)


def test_taylor_takes_filters_where_no_normalisation_is(make_trial: Make) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(96, 4))
    (first, *_) = make_trial(network).surgery.groups
    gradients = {name: torch.rand_like(each) for name, each in network.named_parameters()}
    assert importance(first, gradients, "batchnorm").tolist() == importance(first, gradients).tolist()


def test_taylor_averages_squares_over_batches(make_trial: Make) -> None:
    trial = make_trial()
    trial.config = TaylorConfig(images=32)  # two batches of 16
    network = trial.network
    wanted = torch.zeros(8, dtype=torch.float64)
    taken: list[Tensor] = []
    trial.gradients(32, reduce=lambda seen: taken.append(seen["conv1.weight"].clone()) or {})  # type: ignore[func-returns-value]
    for gradient in taken:
        wanted += (gradient * network.get_parameter("conv1.weight").detach()).flatten(1).sum(1).double() ** 2 / 2
    groups = trial.surgery.groups
    scores = trial.gradients(32, reduce=lambda seen: {group.name: importance(group, seen) for group in groups})
    assert len(taken) == 2
    assert scores["conv1"].tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


def test_a_share_of_what_has_to_go_goes_first() -> None:
    scores, keep = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 9.0]), torch.tensor([0, 5])
    assert first_to_go(scores, keep, 0.5).tolist() == [0, 2, 4, 5]
    assert first_to_go(scores, keep, 1.0).tolist() == [0, 5]


def test_grasp_takes_fewer_images_where_the_search_pays_for_no_more(make_trial: Make) -> None:
    trial = make_trial(target="params=0.5", budget=2.0, search_share=0.5)  # 1 of 96 images, trained: 3 passes each
    trial.config = GraSPConfig(images_per_class=10)
    GraSP().prune(trial)
    assert trial.ledger.phases["search"].images_trained == 4 * 20  # 40 images would cost 160


@pytest.mark.parametrize("rounds", [1, 3])
def test_taylor_comes_to_the_target_in_rounds(make_trial: Make, rounds: int) -> None:
    trial = make_trial()
    trial.config = TaylorConfig(images=32, rounds=rounds)
    Taylor().prune(trial)
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.05)


def test_the_rounds_of_imp_by_hand() -> None:
    assert rounds_for(0.5, 0.2) == 4  # 0.8 ^ 3 is 0.512
    assert rounds_for(0.64, 0.2) == 2
    assert round_ratios(0.25, 2) == [0.5, 0.25]


def test_imp_goes_on_from_what_is_left(make_trial: Make) -> None:
    trial = make_trial(target="params=0.25")
    trial.config = IMPConfig(rounds=3)
    seen: list[dict[str, Tensor]] = []
    train = trial.train

    def watched(**how: float) -> object:
        seen.append(trial.surgery.weights.masks)
        return train(**how)

    trial.train = watched  # type: ignore[method-assign,assignment]
    IMP().prune(trial)
    seen.append(trial.surgery.weights.masks)
    counts = [sum(int(mask.sum()) for mask in masks.values()) for masks in seen]
    assert counts == [trial.surgery.weights_to_keep(ratio) for ratio in round_ratios(0.25, 3)]
    assert not any((after[name] & ~before[name]).any() for before, after in zip(seen, seen[1:]) for name in after)  # noqa: B905,RUF007
    assert trial.ledger.pruning / 3 == pytest.approx(trial.ledger.left, abs=0.3)


def test_imp_goes_back_to_where_the_weights_began(make_trial: Make) -> None:
    trial = make_trial(target="params=0.5")
    trial.config = IMPConfig(rounds=2, rewind="initial")
    IMP().prune(trial)
    begun = trial._setup.initial()
    for name, mask in trial.surgery.weights.masks.items():
        weights = trial.network.get_parameter(name).detach()
        assert torch.equal(weights[mask], begun[name][mask])
        assert not weights[~mask].any()


def test_the_flow_through_two_layers_by_hand(make_trial: Make) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 2, bias=False), nn.Linear(2, 4, bias=False)
            with torch.no_grad():
                self.first.weight.zero_()
                self.first.weight[0, 0], self.first.weight[1, 0], self.first.weight[1, 1] = -3.0, 1.0, 2.0
                self.second.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 0.0], [4.0, 0.0], [0.0, 0.0]]))

        def forward(self, images: Tensor) -> Tensor:
            return self.second(self.first(images.flatten(1)))

    scores = flow_scores(make_trial(Two(), target="params=0.5"))
    # into unit 0 flow 3, out of it 5 in all; into unit 1 flow 3, out of it 2
    assert scores["first.weight"][:, :2].tolist() == [[15.0, 0.0], [2.0, 4.0]]
    assert scores["second.weight"].tolist() == [[3.0, 6.0], [0.0, 0.0], [12.0, 0.0], [0.0, 0.0]]


def test_synflow_cuts_along_an_exponential_schedule_and_leaves_no_layer_empty(make_trial: Make) -> None:
    trial = make_trial(target="params=0.1")
    trial.config = SynFlowConfig(rounds=20)
    SynFlow().prune(trial)
    weights = trial.surgery.weights
    assert weights.remaining() == trial.surgery.weights_to_keep()
    assert all(mask.any() for mask in weights.masks.values())
    assert trial.ledger.phases["search"].macs == pytest.approx(20 * 3 * trial.surgery.macs, rel=0.01)


def test_synflow_comes_to_its_size_where_the_search_does_not_pay_for_all_rounds(make_trial: Make) -> None:
    trial = make_trial(target="params=0.1", budget=1.0, search_share=0.1)  # 28.8 images forward, 3 a round
    trial.config = SynFlowConfig(rounds=20)
    SynFlow().prune(trial)
    assert trial.surgery.weights.remaining() == trial.surgery.weights_to_keep()
    assert trial.ledger.phases["search"].images_trained == 9


def test_grasp_keeps_what_the_gradient_needs(make_trial: Make) -> None:
    trial = make_trial(target="params=0.5")
    trial.config = GraSPConfig(images_per_class=4)
    images, labels = next(iter(trial._passes.data.plain_training_batches(16)))
    network = nn.Sequential()
    network.add_module("net", trial.network)
    GraSP().prune(trial)
    masks = trial.surgery.weights.masks
    # the same by plain autograd, with the batch's statistics
    calls_of(trial).guard.disarm()
    trial.network.train()
    named = dict(trial.network.named_parameters())
    loss = functional.cross_entropy(trial.network(images) / 200, labels)
    gradient = torch.autograd.grad(loss, list(named.values()), create_graph=True)
    flow = sum((each * each.detach()).sum() for each in gradient)
    product = dict(zip(named, torch.autograd.grad(flow, list(named.values())), strict=True))
    name = "conv2.weight"
    kept = (named[name] * product[name]).detach()
    assert kept[masks[name]].min() >= kept[~masks[name]].max() - 1e-7 * math.fabs(float(kept.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["imp", "grasp", "synflow"])
def test_a_run_meets_its_size_with_biases_counted(run: Callable[..., Record], method: str) -> None:
    record = run(method, "params=0.1", settings=("rounds=10",) if method == "synflow" else ())
    assert record.status == "ok", record.error
    assert record.pruned is not None
    assert record.pruned.nonzero == pytest.approx(43_108, abs=2)


def test_a_run_of_taylor_meets_its_size(run: Callable[..., Record]) -> None:
    record = run("taylor", "macs=0.5", settings=("images=64",))
    assert record.status == "ok", record.error
