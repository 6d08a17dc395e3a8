"""Unstructured masks in training, over removals and on disk."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from bench.errors import SurgeryError
from bench.surgery import WeightMasks, remove
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)


def masks_of(network, seed=0, **options):
    masks = WeightMasks(network, **options)
    generator = torch.Generator().manual_seed(seed)
    masks.set({name: torch.rand(mask.shape, generator=generator) > 0.5 for name, mask in masks.masks.items()})
    return masks


def test_covers_weights_and_biases_of_convolutions_and_linear_layers(build):
    masks = WeightMasks(build("residual"))
    assert {"stem.0.weight", "shortcut.bias", "fc.bias"} < set(masks.masks)
    assert not any("bn" in name or name.startswith("stem.1") for name in masks.masks)
    assert masks.remaining() == masks.total
    masks.set({"fc.bias": torch.tensor([True, False, False, True])})
    assert masks.total - masks.remaining() == 2


class Mixed(nn.Module):
    """Weights in all the places where they are found: attention, a recurrent layer, parametrised and bare ones."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.lstm = nn.LSTM(8, 4, batch_first=True)
        self.mix = nn.Parameter(torch.randn(4, 5))
        self.scale = nn.Parameter(torch.ones(5))
        self.fc = parametrizations.weight_norm(nn.Linear(5, 3))
        self.out = parametrizations.spectral_norm(nn.Linear(3, 2))

    def forward(self, x):
        x = self.norm(self.attention(x, x, x)[0])
        return self.out(self.fc(self.lstm(x)[0] @ self.mix * self.scale))


def test_every_parameter_of_two_dimensions_is_covered_with_its_biases():
    network = Mixed()
    masks = WeightMasks(network)
    assert {name for name, p in network.named_parameters() if p.dim() > 1} <= set(masks.masks)
    assert {"attention.in_proj_bias", "lstm.bias_hh_l0", "fc.bias", "out.bias"} <= set(masks.masks)
    assert masks.left_out == {
        "scale": "of one dimension, in Mixed",
        "norm.weight": "of one dimension, in LayerNorm",
        "norm.bias": "of one dimension, in LayerNorm",
    }
    assert masks.why_left_out() == "of one dimension, in Mixed (1x); of one dimension, in LayerNorm (2x)"
    assert masks.total + 5 + 8 + 8 == sum(p.numel() for p in network.parameters())


def test_masks_of_all_kinds_hold_in_forward_and_backward():
    network = Mixed()
    masks = WeightMasks(network)
    masks.set(masks.highest(scores_of(masks), 60))
    with masks.forward_weights(straight_through=False):
        outputs = network(torch.randn(2, 6, 8))
        assert outputs.isfinite().all()
        outputs.sum().backward()
        assert not network.attention.in_proj_weight[~masks.masks["attention.in_proj_weight"]].any()
    assert not network.lstm.weight_hh_l0.grad[~masks.masks["lstm.weight_hh_l0"]].any()


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_weight_normalisation_never_divides_by_zero(norm, dim, scope):
    network = nn.Sequential(norm(nn.Linear(6, 4), dim=dim), nn.Linear(4, 2))
    masks = WeightMasks(network)
    masks.set(masks.highest(scores_of(masks), 12, scope))
    masks.apply_()
    assert network(torch.randn(3, 6)).isfinite().all()
    direction = next(name for name in masks.masks if name.endswith(("original1", "weight_v")))
    with pytest.raises(SurgeryError, match=f"{direction}.*Keep one entry or more"):
        masks.set({direction: torch.zeros(4, 6, dtype=torch.bool)})


def test_apply_zeroes(build):
    network = build("plain")
    masks = masks_of(network)
    masks.apply_()
    zeros = sum(int((p == 0).sum()) for p in network.parameters())
    assert zeros == masks.total - masks.remaining()


def test_straight_through_keeps_values_and_takes_the_gradient_at_the_masked_network(build, inputs):
    network, reference = build("plain"), build("plain")
    masks = masks_of(network)
    before = network.conv1.weight.detach().clone()
    with masks.forward_weights(straight_through=True):
        assert not network.conv1.weight[~masks.masks["conv1.weight"]].any()
        network(inputs).square().sum().backward()
    assert torch.equal(network.conv1.weight, before)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            parameter.mul_(masks.masks[name])
    reference(inputs).square().sum().backward()
    assert torch.allclose(network.conv1.weight.grad, reference.conv1.weight.grad)
    assert network.conv1.weight.grad[~masks.masks["conv1.weight"]].any()


def test_hard_masks_stay_zero_in_training(build, inputs):
    network = build("plain")
    masks = masks_of(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimiser.zero_grad()
        with masks.forward_weights(straight_through=False):
            network(inputs).square().sum().backward()
        optimiser.step()
    assert not network.conv2.weight[~masks.masks["conv2.weight"]].any()
    assert network.conv2.weight[masks.masks["conv2.weight"]].all()


def test_values_come_back_when_training_fails(build):
    network = build("plain")
    masks = masks_of(network)
    before = network.fc1.weight.detach().clone()
    with pytest.raises(ValueError, match="diverged"), masks.forward_weights(straight_through=True):
        raise ValueError("diverged")
    assert torch.equal(network.fc1.weight, before)


def test_masks_survive_a_removal(build, inputs):
    network = build("plain")
    masks = masks_of(network)
    before = masks.masks
    plan = remove(network, trace_groups(network, SHAPE), {"conv1": torch.tensor([1, 4])}, inputs).plan
    masks.slice_(plan)
    assert torch.equal(masks.masks["conv1.weight"], before["conv1.weight"][[1, 4]])
    assert torch.equal(masks.masks["conv2.weight"], before["conv2.weight"][:, [1, 4]])
    masks.apply_()
    assert not network.conv2.weight[~masks.masks["conv2.weight"]].any()


def test_state_dict_round_trip_and_refusals(build):
    masks, other = masks_of(build("plain")), WeightMasks(build("plain"))
    other.load_state_dict(masks.state_dict())
    assert all(torch.equal(mask, masks.masks[name]) for name, mask in other.masks.items())
    with pytest.raises(SurgeryError, match="saved masks"):
        other.load_state_dict({"conv1.weight": masks.masks["conv1.weight"]})
    with pytest.raises(SurgeryError, match=r"conv1.bias.*float32"):
        other.set({"conv1.bias": torch.ones(6)})
    with pytest.raises(SurgeryError, match="conv9"):
        other.set({"conv9.bias": torch.ones(6, dtype=torch.bool)})
    with pytest.raises(SurgeryError, match=r"fc9.*Did you mean"):
        WeightMasks(build("plain"), ["fc9.weight"])


# -- keeping the highest ------------------------------------------------------------------------------------------


def scores_of(masks, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(mask.shape, generator=generator) for name, mask in masks.masks.items()}


def counts(masks):
    return {name: int(mask.sum()) for name, mask in masks.items()}


def test_exactly_as_many_as_wanted_are_kept_those_with_the_highest_scores(build):
    masks = WeightMasks(build("plain"))
    scores = scores_of(masks)
    kept = masks.highest(scores, 100)
    assert sum(counts(kept).values()) == 100
    lowest_kept = min(scores[name][mask].min() for name, mask in kept.items() if mask.any())
    assert lowest_kept > max(scores[name][~mask].max() for name, mask in kept.items() if not mask.all())


def test_of_equal_scores_exactly_as_many_as_wanted_are_kept(build):
    masks = WeightMasks(build("plain"))
    equal = {name: torch.ones(mask.shape) for name, mask in masks.masks.items()}
    assert sum(counts(masks.highest(equal, 57)).values()) == 57


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_every_layer_keeps_a_weight(build, scope):
    masks = WeightMasks(build("plain"))
    scores = {name: score - 5 * name.startswith("conv1") for name, score in scores_of(masks).items()}
    kept = masks.highest(scores, len(masks.layers) + 3, scope)
    assert all(any(kept[name].any() for name in names) for names in masks.layers.values())
    assert torch.equal(kept["conv1.weight"].flatten().nonzero()[0, 0], scores["conv1.weight"].argmax())


def test_uniform_keeps_the_same_share_of_every_layer(build):
    masks = WeightMasks(build("plain"))
    kept = masks.highest(scores_of(masks), masks.total // 4, "uniform")
    for names in masks.layers.values():
        total = sum(masks.masks[name].numel() for name in names)
        assert sum(int(kept[name].sum()) for name in names) == pytest.approx(total / 4, abs=1)


def test_channels_last_scores_are_taken_in_their_own_order(build):
    masks = WeightMasks(build("plain"))
    scores = scores_of(masks)
    last = {n: s.contiguous(memory_format=torch.channels_last) if s.dim() == 4 else s for n, s in scores.items()}
    first, second = masks.highest(scores, 40), masks.highest(last, 40)
    assert all(torch.equal(mask, second[name]) for name, mask in first.items())


def test_scores_of_another_shape_and_missing_ones_are_refused(build):
    masks = WeightMasks(build("plain"))
    scores = scores_of(masks)
    with pytest.raises(SurgeryError, match=r"scores of conv1.bias: none\. Give one for each of its weights"):
        masks.highest({name: each for name, each in scores.items() if name != "conv1.bias"}, 10)
    with pytest.raises(SurgeryError, match=r"conv1.bias: \[2\]"):
        masks.highest({**scores, "conv1.bias": torch.ones(2)}, 10)
