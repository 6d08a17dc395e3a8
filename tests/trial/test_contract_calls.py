"""Calls that criteria need: norms and scales of groups, gradients, penalties, rewinding, what is affordable."""

from dataclasses import dataclass, field

import pytest
import torch
from small_trial import HALF, MACS, Make, equal
from torch import Tensor, nn
from torch.nn import functional

from bench import BudgetSpent, Hook, NotPrunable, Step, SurgeryError, Trial, UsageError
from bench.trial.phases import calls_of


def state(trial: Trial) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trial.network.state_dict().items()}


class Plain(nn.Module):
    """A convolution and a linear layer, no BatchNorm; small enough to differentiate by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.fc = nn.Linear(3, 4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images).mean((2, 3)))


# -- groups -------------------------------------------------------------------------------------------------------


def test_norms_of_filters_by_hand(make_trial: Make) -> None:
    network = Plain()
    rows = torch.zeros(3, 1, 3, 3)
    rows[0, 0, 0, :2] = torch.tensor([3.0, -4.0])
    rows[1, 0, 2, 2] = -2.0
    network.conv.weight.data = rows
    (group,) = make_trial(network).surgery.groups
    assert group.norms().tolist() == [7.0, 2.0, 0.0]
    assert group.norms(2).tolist() == [5.0, 2.0, 0.0]


def test_norms_are_live(make_trial: Make) -> None:
    group = make_trial().surgery.groups[0]
    (gradient,) = torch.autograd.grad(group.norms().sum(), [group.weight])
    assert torch.equal(gradient, group.weight.detach().sign())


def test_norm_scales_are_the_absolute_scales_of_the_groups_batchnorm(make_trial: Make) -> None:
    trial = make_trial()
    scale = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 1.0, 1.0, -1.0])
    with calls_of(trial).guard.opened():
        trial.network.bn1.weight.data.copy_(scale)
    group = trial.surgery.groups[0]
    assert torch.equal(group.norm_scales, scale.abs())
    assert group.norm_scales.requires_grad
    trial.surgery.remove(HALF)
    assert trial.surgery.groups[0].norm_scales.tolist() == [1.0, 0.5, 0.0, 1.0]


def test_a_group_without_batchnorm_says_so(make_trial: Make) -> None:
    (group,) = make_trial(Plain()).surgery.groups
    with pytest.raises(NotPrunable, match="'conv' has no BatchNorm"):
        _ = group.norm_scales


# -- gradients ----------------------------------------------------------------------------------------------------


def expected_gradients(trial: Trial, images: int) -> dict[str, Tensor]:
    """The gradient over all images at once, by plain PyTorch, on a copy."""
    copy = Plain() if isinstance(trial.network, Plain) else type(trial.network)()
    copy.load_state_dict(trial.network.state_dict())
    copy.eval()
    stored = trial._passes.data.train
    pixels, labels = stored.pixels[:images], stored.labels[:images]
    value = functional.cross_entropy(copy(trial._passes.data.normaliser(pixels)), labels)
    found = torch.autograd.grad(value, list(copy.parameters()))
    return dict(zip((name for name, _ in copy.named_parameters()), found, strict=True))


def test_gradients_are_those_of_the_mean_loss_over_the_first_images(make_trial: Make) -> None:
    trial = make_trial(search_share=1.0)
    before = state(trial)
    found = trial.gradients(40, batch=16)
    wanted = expected_gradients(trial, 40)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)
    assert equal(before, state(trial))
    assert all(parameter.grad is None for parameter in trial.network.parameters())


def test_gradients_are_charged_three_times_the_macs_to_the_search(make_trial: Make) -> None:
    trial = make_trial()
    trial.gradients(40)
    spent = trial.ledger.phases["search"]
    assert (spent.images_trained, spent.images_forward, spent.steps, spent.macs) == (40, 0, 0, 3 * 40 * MACS)
    assert trial.ledger.phases["prune"].macs == 0


def test_gradients_beyond_the_searchs_share_are_refused(make_trial: Make) -> None:
    trial = make_trial(budget=1.0, search_share=0.3)
    with pytest.raises(BudgetSpent):
        trial.gradients(30)
    trial.gradients(28)


def test_gradients_of_batches_can_be_reduced_one_by_one(make_trial: Make) -> None:
    trial = make_trial(Plain(), search_share=1.0)
    whole = [trial.gradients(16), trial.gradients(32)]  # of the first 16, and of both batches
    second = {name: 2 * whole[1][name] - whole[0][name] for name in whole[0]}
    squares = trial.gradients(32, reduce=lambda found: {name: each.square() for name, each in found.items()}, batch=16)
    wanted = (whole[0]["fc.weight"].square() + second["fc.weight"].square()) / 2
    torch.testing.assert_close(squares["fc.weight"], wanted, rtol=1e-3, atol=1e-6)


def test_the_product_with_the_hessian_is_the_gradients_change_along_the_direction(make_trial: Make) -> None:
    trial = make_trial(Plain(), search_share=1.0, budget=20.0)
    drawn = torch.Generator().manual_seed(0)
    direction = {name: torch.randn(p.shape, generator=drawn) for name, p in trial.network.named_parameters()}
    product = trial.gradients(32, direction=direction)
    assert trial.ledger.phases["search"].macs == 9 * 32 * trial.surgery.macs

    step = 1e-2
    moved = []
    for sign in (1, -1):
        with calls_of(trial).guard.opened(), torch.no_grad():
            for name, parameter in trial.network.named_parameters():
                parameter += sign * step * direction[name]
        moved.append(expected_gradients(trial, 32))
        with calls_of(trial).guard.opened(), torch.no_grad():
            for name, parameter in trial.network.named_parameters():
                parameter -= sign * step * direction[name]
    for name in direction:
        slope = (moved[0][name] - moved[1][name]) / (2 * step)
        torch.testing.assert_close(product[name], slope, rtol=0.02, atol=2e-3)


def test_synflow_saliencies_of_each_layer_sum_to_the_same_by_hand(make_trial: Make) -> None:
    trial = make_trial(Plain())
    with calls_of(trial).guard.opened():
        trial.network.conv.weight.data.fill_(-0.5)
        trial.network.fc.weight.data.fill_(2.0)
    found = trial.gradients(1, lambda _net, outputs, _labels: outputs.sum(), inputs="ones", absolute=True)
    # a pixel inside sums 9 of 0.5, at an edge 6, in a corner 4: mean over 8x8 of the number of neighbours
    neighbours = (36 * 9 + 24 * 6 + 4 * 4) / 64
    assert found["fc.weight"].dtype == torch.float64
    torch.testing.assert_close(found["fc.weight"], torch.full((4, 3), neighbours * 0.5, dtype=torch.float64))
    sums = [
        (found[name].abs() * trial.network.get_parameter(name).abs()).sum() for name in ("conv.weight", "fc.weight")
    ]
    torch.testing.assert_close(sums[0], sums[1])
    assert trial.network.conv.weight.dtype == torch.float32
    assert trial.network.conv.weight[0, 0, 0, 0] == -0.5


def test_masked_weights_have_the_gradient_that_they_would_gain(make_trial: Make) -> None:
    trial = make_trial(Plain(), target="params=0.5")
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[0, 0] = False
    trial.surgery.weights.set({"fc.weight": mask})
    found = trial.gradients(32)
    with calls_of(trial).guard.opened(), torch.no_grad():
        trial.network.fc.weight[0, 0] = 0
    wanted = expected_gradients(trial, 32)["fc.weight"]
    assert wanted[0, 0] != 0
    torch.testing.assert_close(found["fc.weight"], wanted, rtol=1e-4, atol=1e-6)


def test_statistics_of_batches_leave_the_running_ones_alone(make_trial: Make) -> None:
    trial = make_trial()
    before = state(trial)
    usual, by_batch = trial.gradients(32), trial.gradients(32, batch_statistics=True)
    assert not torch.allclose(usual["conv1.weight"], by_batch["conv1.weight"])
    assert equal(before, state(trial))


# -- penalty ------------------------------------------------------------------------------------------------------


def test_a_penalty_is_added_to_the_recipes_loss(make_trial: Make) -> None:
    def scale(network: nn.Module) -> Tensor:
        return network.bn1.weight.abs().sum()

    plain, penalised, own = (make_trial(weight_decay=0.0) for _ in range(3))
    usual = plain.train(epochs=1)
    more = penalised.train(epochs=1, penalty=scale)
    same = own.train(epochs=1, loss=lambda net, outputs, labels: functional.cross_entropy(outputs, labels) + scale(net))
    assert more.epochs[0].train_loss > usual.epochs[0].train_loss + 4
    assert equal(state(penalised), state(own))
    assert same.epochs[0].train_loss == more.epochs[0].train_loss


# -- rewinding ----------------------------------------------------------------------------------------------------


def test_rewinding_gives_the_initial_weights_at_the_channels_that_are_left(make_trial: Make) -> None:
    trial = make_trial()
    first = state(trial)
    trial.train(epochs=1)
    trial.surgery.remove(HALF)
    trial.train(epochs=1)
    trial.surgery.remove({"conv1": torch.tensor([1, 3])})
    trial.rewind()
    now = state(trial)
    assert torch.equal(now["conv1.weight"], first["conv1.weight"][[2, 6]])
    assert torch.equal(now["conv2.weight"], first["conv2.weight"][[1, 3, 5]][:, [2, 6]])
    assert torch.equal(now["bn1.running_var"], first["bn1.running_var"][[2, 6]])
    assert calls_of(trial).optimiser.state == {}


def test_rewinding_to_a_snapshot_and_going_on_is_the_same_training(make_trial: Make) -> None:
    trial = make_trial(budget=20.0)
    trial.train(epochs=1)
    early = trial.snapshot()
    there = state(trial)
    trial.train(epochs=2)
    assert not equal(there, state(trial))
    trial.rewind(early)
    assert equal(there, state(trial))


def test_rewinding_keeps_unstructured_masks_in_force(make_trial: Make) -> None:
    trial = make_trial(target="params=0.5")
    masks = {"conv1.weight": torch.rand(8, 1, 3, 3) > 0.5}
    trial.surgery.weights.set(masks)
    trial.train(epochs=1)
    trial.rewind()
    assert torch.equal(trial.surgery.weights.masks["conv1.weight"], masks["conv1.weight"])
    assert not trial.network.conv1.weight[~masks["conv1.weight"]].any()


def test_rewinding_inside_masks_is_refused(make_trial: Make) -> None:
    trial = make_trial()
    with trial.surgery.masked(HALF), pytest.raises(SurgeryError, match="rewinding inside"):
        trial.rewind()


# -- what a method may ask ----------------------------------------------------------------------------------------


def test_what_is_affordable_counts_recalibration_and_calls(make_trial: Make) -> None:
    trial = make_trial(budget=6.0, search_share=0.3)  # 1.8 epochs of 3 x 96 images forward: 518.4
    assert trial.affordable(518, recalibrate=False)
    assert not trial.affordable(519, recalibrate=False)
    assert trial.affordable(422)  # and 96 for BatchNorm
    assert not trial.affordable(423)
    assert trial.affordable(32, calls=4)
    assert not trial.affordable(32, calls=5)
    for _ in range(4):
        trial.evaluate(32)
    assert not trial.affordable(32)


def test_sizes_classes_and_batch_size(make_trial: Make) -> None:
    trial = make_trial()
    assert (trial.sizes.train, trial.sizes.validation, trial.classes, trial.batch_size) == (96, 32, 4, 16)


def test_a_training_call_shorter_than_a_batch_says_so(make_trial: Make) -> None:
    trial = make_trial()
    with pytest.raises(UsageError, match=r"epochs=0.1\) is 10 images, less than one batch of 16"):
        trial.train(epochs=0.1)
    with pytest.raises(UsageError, match=r"share=0.01\) is 5 images, less than one batch of 16"):
        trial.train(share=0.01)
    assert trial.ledger.total.steps == 0


# -- hooks --------------------------------------------------------------------------------------------------------


@dataclass
class Counting(Hook):
    """State with defaults, settings without."""

    trial: object
    every: int
    steps: int = 0
    seen: tuple[float, ...] = ()
    mean: Tensor = field(default_factory=lambda: torch.zeros(2))
    found: dict[str, Tensor] = field(init=False, default_factory=dict)

    def after_step(self, step: Step) -> None:
        self.steps += 1
        self.seen = (*self.seen, step.progress)


def test_a_dataclass_hooks_state_is_its_fields_with_defaults() -> None:
    hook = Counting(object(), 3)
    hook.steps, hook.seen, hook.mean = 7, (0.5,), torch.ones(2)
    kept = hook.state_dict()
    assert set(kept) == {"steps", "seen", "mean", "found"}
    other = Counting(object(), 3)
    other.load_state_dict({**kept, "seen": [0.5]})
    assert (other.steps, other.seen, other.mean.tolist()) == (7, (0.5,), [1.0, 1.0])


def test_a_state_of_other_fields_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="fields"):
        Counting(object(), 3).load_state_dict({"steps": 1})


def test_hooks_can_ask_for_gradients(make_trial: Make) -> None:
    seen: list[dict[str, Tensor]] = []

    class Asking(Hook):
        def before_step(self, step: Step) -> None:
            if step.index == 1:
                seen.append(step.gradients(step.images, step.labels))

    trial = make_trial(target="params=0.5")
    trial.train(epochs=0.5, hooks=[Asking()])
    assert seen[0].keys() == dict(trial.network.named_parameters()).keys()
    assert trial.ledger.phases["search"].macs == 3 * 16 * MACS
    plain = make_trial(target="params=0.5")
    plain.train(epochs=0.5)
    assert equal(state(plain), state(trial))
