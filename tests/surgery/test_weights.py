"""Unstructured masks in training, over removals and on disk."""

import pytest
import torch

from bench.errors import SurgeryError
from bench.surgery import WeightMasks, remove, trace_groups

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
