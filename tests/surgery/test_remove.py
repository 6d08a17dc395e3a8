"""Removal is physical, equal to the mask, and refused when it is not."""

import copy

import pytest
import timm
import torch
from torch import nn

from bench.errors import SurgeryError
from bench.networks.base import NetworkSpec
from bench.networks.registry import network as network_named
from bench.surgery import SlicePlan, remove
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)
SMALL = ("plain", "flatten", "residual", "depthwise", "concat")


def outputs(network, inputs):
    with torch.no_grad():
        return copy.deepcopy(network).eval()(inputs)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", SMALL)
def test_masked_equals_removed(name, seed, build, prune_and_check):
    prune_and_check(build(name, seed), SHAPE, ["*"], seed=seed)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenetv2"])
def test_masked_equals_removed_for_own_networks(name, prune_and_check):
    plugin = network_named(name)
    prune_and_check(plugin.build(plugin.input), plugin.input.shape, plugin.prunable, times=2)


@pytest.mark.parametrize(("name", "size", "groups"), [("alexnet", 64, 5), ("resnet50", 32, 37)])
def test_masked_equals_removed_for_networks_of_large_images(name, size, groups, prune_and_check):
    network = network_named(name).build(NetworkSpec(channels=3, size=size, classes=5))
    assert len(prune_and_check(network, (3, size, size), times=1)) == groups


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv2_100", "densenet121", "efficientnet_b0", "regnety_002", "vgg11_bn"]
)
def test_masked_equals_removed_for_timm(name, prune_and_check):
    network = timm.create_model(name, num_classes=10)
    prune_and_check(network, (3, 64, 64), times=2)


@pytest.mark.parametrize("name", SMALL)
def test_one_channel_a_group_is_possible(name, build, inputs):
    network = build(name)
    groups = trace_groups(network, SHAPE)
    keep = {group.name: torch.tensor([group.width - 1]) for group in groups}
    groups = remove(network, groups, keep, inputs).groups
    assert set(groups.widths.values()) == {1}
    assert all(group.macs_per_channel > 0 for group in groups)
    assert remove(network, groups, {}, inputs).proof is None


def test_layers_and_attributes_after_removal(build, inputs):
    network = build("depthwise")
    keep = {"expand": torch.tensor([True, False] * 4), "squeeze": torch.tensor([2, 0])}
    remove(network, trace_groups(network, SHAPE), keep, inputs)
    spatial, bn = network.spatial, network.bn2
    assert (spatial.in_channels, spatial.out_channels, spatial.groups) == (4, 4, 4)
    assert (bn.num_features, bn.running_mean.shape, bn.weight.shape) == (4, (4,), (4,))
    assert (network.squeeze.in_channels, network.squeeze.out_channels) == (4, 2)
    assert (network.project.in_channels, network.project.out_channels) == (4, 5)
    network = build("flatten")
    remove(network, trace_groups(network, SHAPE), {"conv1": torch.arange(3), "conv2": torch.arange(2)}, inputs)
    assert (network.fc.in_features, network.fc.out_features) == (8, 4)
    assert (network.act.num_parameters, network.norm.num_features) == (3, 2)


def test_mode_requires_grad_and_memory_format_stay(build, inputs):
    network = build("residual").train().to(memory_format=torch.channels_last)
    network.conv1.weight.requires_grad_(False)
    network.conv1.eval()
    remove(network, trace_groups(network, SHAPE), {"conv1": torch.arange(3)}, inputs)
    assert network.training
    assert not network.conv1.training
    assert not network.conv1.weight.requires_grad
    assert network.conv2.weight.requires_grad
    assert network.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert not network.conv2.weight.is_contiguous()


def test_proof_is_seen_by_no_hook_of_the_harness_and_ignores_autocast(build, inputs):
    network = build("residual")
    groups = trace_groups(network, SHAPE)
    calls = []

    def watch(*_):
        calls.append(1)

    watch.__module__ = "bench.trial.guard"
    network.register_forward_hook(watch)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        removal = remove(network, groups, {"conv1": torch.arange(3)}, inputs)
    assert removal.proof.largest < 1e-5
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_momentum_is_sliced_with_the_parameters(build, inputs):
    network = build("residual")
    groups = trace_groups(network, SHAPE)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimiser.zero_grad()
        network(inputs).square().sum().backward()
        optimiser.step()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    momentum = {name: optimiser.state[p]["momentum_buffer"] for name, p in network.named_parameters()}
    stem, inner = torch.tensor([0, 2, 5]), torch.tensor([1, 6])
    plan = remove(network, groups, {"stem.0": stem, "conv1": inner}, inputs).plan
    sliced = plan.slice_state(momentum)
    assert torch.equal(sliced["conv1.weight"], momentum["conv1.weight"][inner][:, stem])
    assert torch.equal(sliced["conv2.weight"], momentum["conv2.weight"][stem][:, inner])
    assert torch.equal(sliced["bn1.bias"], momentum["bn1.bias"][inner])
    assert torch.equal(sliced["shortcut.weight"], momentum["shortcut.weight"][:, stem])
    assert sliced["fc.weight"] is momentum["fc.weight"]
    # a step on momentum alone moves the kept weights as it would have moved them in the dense network
    smaller = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for name, parameter in network.named_parameters():
        smaller.state[parameter]["momentum_buffer"] = sliced[name].clone()
        parameter.grad = torch.zeros_like(parameter)
    smaller.step()
    moved = before["conv1.weight"] - 0.1 * 0.9 * momentum["conv1.weight"]
    assert torch.allclose(network.conv1.weight, moved[inner][:, stem], atol=1e-7)
    assert plan.slice_tensor("conv1.weight", torch.tensor(3.0)) == 3.0
    with pytest.raises(SurgeryError, match="before the removal"):
        plan.slice_tensor("conv1.weight", sliced["conv1.weight"])


def keep_first_instead(plan, name, tensor, only):
    """What a wrong implementation does: keeps the right number of entries, but the first ones."""
    for dim, entries in plan.kept.get(name, {}).items():
        chosen = torch.arange(len(entries)) if (name, dim) == only else entries
        tensor = tensor.index_select(dim, chosen)
    return tensor


@pytest.mark.parametrize(
    "only",
    [
        ("stem.0.weight", 0),
        ("stem.1.bias", 0),
        ("stem.1.running_mean", 0),
        ("conv1.weight", 1),
        ("conv2.weight", 0),
        ("shortcut.weight", 1),
        ("bn2.weight", 0),
        ("bn2.running_var", 0),
    ],
    ids=str,
)
def test_a_broken_removal_is_caught_and_undone(only, build, inputs, monkeypatch):
    network = build("residual")
    groups = trace_groups(network, SHAPE)
    before = copy.deepcopy(network.state_dict())
    parameters = list(network.parameters())
    monkeypatch.setattr(
        SlicePlan, "slice_tensor", lambda plan, name, tensor: keep_first_instead(plan, name, tensor, only)
    )
    with pytest.raises(SurgeryError, match=r"max\|masked - removed\| is .* The network is as before"):
        remove(network, groups, {"stem.0": torch.tensor([2, 4, 5])}, inputs)
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_removal_that_does_not_run_is_refused(build, inputs, monkeypatch):
    network = build("plain")
    groups = trace_groups(network, SHAPE)
    before = network.conv1.weight
    right = SlicePlan.slice_tensor

    def forget_the_readers(plan, name, tensor):
        return right(plan, name, tensor) if name.startswith("conv1") else tensor

    monkeypatch.setattr(SlicePlan, "slice_tensor", forget_the_readers)
    with pytest.raises(SurgeryError, match="does not run after the removal"):
        remove(network, groups, {"conv1": torch.arange(2)}, inputs)
    assert network.conv1.weight is before


def test_a_network_of_nan_is_refused(build, inputs):
    network = build("plain")
    groups = trace_groups(network, SHAPE)
    nn.init.constant_(network.fc1.weight, float("nan"))
    with pytest.raises(SurgeryError, match="not finite"):
        remove(network, groups, {"conv1": torch.arange(2)}, inputs)
    assert network.conv1.out_channels == 6
