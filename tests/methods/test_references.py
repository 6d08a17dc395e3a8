"""Criteria against independent references on the same weights, on ResNet-20 and VGG-16: torch-pruning, and NumPy.

torch-pruning's importances are asked with `group_reduction="sum"` and `normalizer=None`, which is what the scores here
are: sums over the layers of a group, not divided by anything.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch_pruning
from torch import Tensor, nn

from bench import ChannelGroup
from bench.methods.chip import independence
from bench.methods.group_norm import group_norms
from bench.methods.hrank import mean_ranks
from bench.methods.lamp import lamp_scores
from bench.methods.taylor import importance
from bench.networks.base import NetworkSpec
from bench.networks.registry import network as network_plugin
from bench.surgery.trace import trace_groups


@dataclass(frozen=True)
class Case:
    """A network with weights and statistics that are all different, its groups and some images."""

    network: nn.Module
    groups: tuple[ChannelGroup, ...]
    images: Tensor
    labels: Tensor


@pytest.fixture(scope="module", params=["resnet20", "vgg16"])
def case(request: pytest.FixtureRequest) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network_plugin(request.param).build(NetworkSpec(3, 32, 10)).eval()
        with torch.no_grad():
            for name, tensor in network.named_parameters():
                if tensor.dim() == 1:
                    tensor.add_(0.2 * torch.rand_like(tensor) if name.endswith("weight") else torch.randn_like(tensor))
        images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    return Case(network, tuple(trace_groups(network, (3, 32, 32), None)), images, labels)


def reference(case: Case, criterion: torch_pruning.importance.Importance, group: ChannelGroup) -> Tensor:
    """torch-pruning's scores of a group's channels, in the order of its first layer's filters."""
    graph = torch_pruning.DependencyGraph().build_dependency(case.network, example_inputs=case.images[:1])
    layer = case.network.get_submodule(group.layers[0])
    prune = (
        torch_pruning.prune_conv_out_channels
        if isinstance(layer, nn.Conv2d)
        else torch_pruning.prune_linear_out_channels
    )
    scores: Tensor = criterion(graph.get_pruning_group(layer, prune, list(range(group.width))))
    return scores


def test_group_norm_ranks_as_torch_pruning_does(case: Case) -> None:
    criterion = torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="sum", normalizer=None)
    for group in case.groups:
        scores, wanted = group_norms(group), reference(case, criterion, group)
        assert torch.allclose(scores, wanted.cpu(), rtol=1e-4), group.name
        assert torch.equal(scores.argsort(), wanted.cpu().argsort()), group.name


def test_lamp_scores_as_numpy_has_them(case: Case) -> None:
    for name, parameter in case.network.named_parameters():
        if parameter.dim() > 1 and parameter.numel() < 50_000:
            squares = np.sort(parameter.detach().double().numpy().ravel() ** 2)
            wanted = squares / np.cumsum(squares[::-1])[::-1]
            assert np.allclose(np.sort(lamp_scores(parameter).numpy().ravel()), wanted), name


def test_taylor_as_numpy_has_it(case: Case) -> None:
    loss = nn.functional.cross_entropy(case.network(case.images), case.labels)
    named = dict(case.network.named_parameters())
    gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    for group in case.groups:
        total = np.zeros(group.width)
        for layer in group.layers:
            weights, slopes = (each[f"{layer}.weight"].detach().double().numpy() for each in (named, gradients))
            total += (weights * slopes).reshape(group.width, -1).sum(1)
        assert np.allclose(importance(group, gradients).double().numpy(), total**2, rtol=1e-3, atol=1e-12), group.name


def test_ranks_and_independence_as_numpy_has_them(case: Case) -> None:
    maps: dict[str, Tensor] = {}
    layer = case.groups[0].layers[0]
    handle = case.network.get_submodule(layer).register_forward_hook(
        lambda _module, _inputs, output: maps.update(found=output.detach().relu())
    )
    with torch.no_grad():
        case.network(case.images)
    handle.remove()
    found = maps["found"]
    found[:, 1] = found[:, 0]  # one channel that another can stand in for, and one of low rank
    found[:, 2, 3:] = 0
    assert np.allclose(mean_ranks(found).numpy(), np.linalg.matrix_rank(found.numpy()).mean(0))
    few = found[:2, :8]
    wanted = np.zeros(8)
    for image in few.flatten(2).double().numpy():
        whole = np.linalg.norm(image, "nuc")
        for channel in range(8):
            wanted[channel] += (whole - np.linalg.norm(np.delete(image, channel, 0), "nuc")) / 2
    assert np.allclose(independence(few).numpy(), wanted)
