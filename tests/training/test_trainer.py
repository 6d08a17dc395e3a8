"""The training loop: schedule, allowance, optimiser state, and losses that diverge."""

import pytest
import torch
from torch import Tensor, nn

from bench.data.splits import Data
from bench.specs.track import Recipe
from bench.training.hooks import Epoch
from bench.training.optimiser import Optimiser
from bench.training.trainer import Allowance, Diverged, Trainer, learning_rate

RECIPE = Recipe(learning_rate=0.1, batch_size=16, warmup=0.1)
EPOCH = 96  # training images of `patterns`, six steps of 16


class Steps:
    """Rate and images of every step of a training."""

    def __init__(self, trainer: Trainer) -> None:
        self.images: list[int] = []
        trainer.on_step = self.images.append


def trainer(data: Data, network: nn.Module, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(network, data, recipe, "float32", Optimiser())


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_learning_rate_warms_up_linearly_and_falls_along_half_a_cosine() -> None:
    assert learning_rate(RECIPE, 0.0) == 0.0
    assert learning_rate(RECIPE, 0.05) == pytest.approx(0.05)
    assert learning_rate(RECIPE, 0.1) == pytest.approx(0.1)
    assert learning_rate(RECIPE, 0.55) == pytest.approx(0.05)
    assert learning_rate(RECIPE, 1.0) == pytest.approx(0.0)


def test_without_warm_up_the_peak_comes_first() -> None:
    assert learning_rate(Recipe(learning_rate=0.1, warmup=0.0), 0.0) == 0.1


@pytest.mark.parametrize(
    ("images", "trained", "epochs"),
    [(96, 96, [1.0]), (200, 192, [1.0, 2.0]), (100, 96, [1.0]), (50, 48, [0.5]), (15, 0, []), (0, 0, [])],
)
def test_training_takes_whole_batches_as_long_as_they_fit(
    patterns: Data, network: nn.Module, images: int, trained: int, epochs: list[float]
) -> None:
    train = trainer(patterns, network)
    steps = Steps(train)
    history = train.train(Allowance(images), seeded())
    assert sum(steps.images) == trained
    assert [epoch.epochs for epoch in history.epochs] == epochs


def test_an_allowance_in_seconds_that_is_over_ends_training_at_that_step(patterns: Data, network: nn.Module) -> None:
    train = trainer(patterns, network)
    steps = Steps(train)
    train.train(Allowance(10**9, seconds=0.05), seeded())
    assert sum(steps.images) < 10**9
    assert Allowance(100, 2.0).progress(50, 0.1) == 0.5
    assert Allowance(100, 2.0).progress(50, 1.5) == 0.75
    assert Allowance(100, 2.0).progress(500, 9.0) == 1.0


def test_training_learns_and_the_last_steps_rate_is_near_zero(patterns: Data, network: nn.Module) -> None:
    history = trainer(patterns, network).train(Allowance(10 * EPOCH), seeded())
    assert history.epochs[-1].train_loss < 0.5 * history.epochs[0].train_loss
    assert history.epochs[-1].learning_rate < 0.01 * RECIPE.learning_rate


def test_the_same_generator_gives_the_same_network_bitwise(patterns: Data) -> None:
    made = []
    for _ in range(2):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        nn.init.ones_(network[1].weight)
        nn.init.zeros_(network[1].bias)
        trainer(patterns, network).train(Allowance(2 * EPOCH), seeded())
        made.append(network[1].weight.detach())
    assert torch.equal(*made)


def test_weight_decay_is_for_weights_of_two_or_more_dimensions_only(network: nn.Module) -> None:
    made = Optimiser().make(network, RECIPE.model_copy(update={"weight_decay": 0.5}))
    decays = {parameter.dim(): group["weight_decay"] for group in made.param_groups for parameter in group["params"]}
    assert decays == {2: 0.5, 1: 0.0}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_optimisers_state_goes_on_from_call_to_call(patterns: Data, network: nn.Module, name: str) -> None:
    train = trainer(patterns, network, RECIPE.model_copy(update={"optimiser": name}))
    train.train(Allowance(EPOCH), seeded())
    kept = train.optimiser.make(network, train.recipe)
    for key, value in train.optimiser.state["1.weight"].items():
        assert torch.equal(kept.state[network[1].weight][key], value)
    assert train.optimiser.state["1.weight"]


def test_a_removal_slices_what_has_a_parameters_shape_and_leaves_counters() -> None:
    optimiser = Optimiser({"w": {"exp_avg": torch.arange(6.0).view(3, 2), "step": torch.tensor(4.0)}})
    optimiser.slice(lambda tensors: {name: tensor[[0, 2]] for name, tensor in tensors.items()})
    assert torch.equal(optimiser.state["w"]["exp_avg"], torch.tensor([[0.0, 1.0], [4.0, 5.0]]))
    assert optimiser.state["w"]["step"] == 4.0


def test_a_loss_that_is_not_finite_ends_the_training_with_step_and_rate(patterns: Data, network: nn.Module) -> None:
    def loss(_network: nn.Module, outputs: Tensor, _labels: Tensor) -> Tensor:
        return outputs.sum() * float("nan")

    with pytest.raises(Diverged, match=r"training loss is nan at step 0 .*Lower the learning rate"):
        trainer(patterns, network).train(Allowance(EPOCH), seeded(), loss)


def test_every_epoch_is_told_with_its_mean_loss(patterns: Data, network: nn.Module) -> None:
    told: list[Epoch] = []
    train = trainer(patterns, network)
    train.on_epoch = told.append
    history = train.train(Allowance(2 * EPOCH), seeded(), lambda _net, outputs, _labels: outputs.sum() * 0 + 2.5)
    assert tuple(told) == history.epochs
    assert [epoch.train_loss for epoch in told] == [2.5, 2.5]


def test_label_smoothing_is_the_recipes(patterns: Data, network: nn.Module) -> None:
    plain = trainer(patterns, network).train(Allowance(16), seeded()).epochs[0].train_loss
    with torch.random.fork_rng():
        torch.manual_seed(0)
        again = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    smooth = RECIPE.model_copy(update={"label_smoothing": 0.3})
    assert trainer(patterns, again, smooth).train(Allowance(16), seeded()).epochs[0].train_loss != plain
