"""Criteria against independent references on the same weights, on ResNet-20 and VGG-16: torch-pruning, and NumPy.

How torch-pruning's importances are set so that reduction and normaliser are those of the scores here, which are divided
by nothing: `normalizer=None`.

- `group-norm`: sums over all that a group's channel owns: `group_reduction="sum"`.
- `slimming`: BatchNorm scales alone, the mean over those that see a channel: `group_reduction="mean"`.
- `fpgm`: the filters of a layer alone, not what reads them: `group_reduction="first"`, which is the layer that the
  group is asked from. It is asked from each layer that a residual add ties, and the answers are summed. It measures
  distances between |w|^p, so p = 1 and weights that are not negative.

Importances are given groups of the dependency graph alone; the pruners share mutable defaults.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_pruning
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import ChannelGroup, Trial
from bench.data.base import Dataset, Images
from bench.data.splits import Data, split_images
from bench.methods._maps import channel_scores
from bench.methods.chip import independence
from bench.methods.fpgm import distances
from bench.methods.group_norm import group_norms
from bench.methods.hrank import mean_ranks
from bench.methods.lamp import Lamp, lamp_scores
from bench.methods.snip import SNIP, SNIPConfig
from bench.methods.synflow import flow_scores
from bench.methods.taylor import importance
from bench.networks.base import NetworkSpec
from bench.networks.registry import network as network_plugin
from bench.seeding import generator
from bench.specs.track import Validation
from bench.surgery.trace import trace_groups
from bench.trial.phases import calls_of

SLOW_VGG16 = pytest.mark.parametrize(
    "case", ["resnet20", pytest.param("vgg16", marks=pytest.mark.slow)], indirect=True, scope="module"
)
Make = Callable[..., Trial]
Array = NDArray[np.float64]


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


class Noise(Dataset):
    """Noise of 3x32x32: 64 training images (32 of them validation), 10 for test."""

    name = "noise"
    summary = "Noise."
    reference = "made up"
    channels, size, classes = 3, 32, 10
    mean, std = (0.5,) * 3, (0.25,) * 3

    def load(self, folder: Path) -> tuple[Images, Images]:
        drawn = generator("noise")

        def images(count: int) -> Images:
            pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=drawn, dtype=torch.uint8)
            return Images(pixels, torch.arange(count) % 10)

        return images(64), images(10)


@pytest.fixture(scope="module")
def noise() -> Data:
    train, test = Noise().load(Path())
    return split_images(Noise(), train, test, Validation(images=32), torch.device("cpu"))


def first_images(trial: Trial, count: int) -> tuple[Tensor, Tensor]:
    """What the trial's gradients and probes see first."""
    images, labels = next(iter(trial._passes.data.plain_training_batches(count)))
    return images[:count], labels[:count]


@contextmanager
def unwatched(trial: Trial) -> Iterator[nn.Module]:
    """A copy of the trial's network to compute with."""
    calls_of(trial).guard.disarm()
    yield deepcopy(trial.network)
    calls_of(trial).guard.arm()


# -- torch-pruning ------------------------------------------------------------------------------------------------


class Asked:
    """torch-pruning's importances of a network's groups."""

    def __init__(self, case: Case) -> None:
        self._network = case.network
        self._graph = torch_pruning.DependencyGraph().build_dependency(case.network, example_inputs=case.images[:1])

    def scores(self, criterion: torch_pruning.importance.Importance, layer: str, width: int) -> Tensor:
        """Scores [width] of the group of a layer's filters, in their order."""
        module = self._network.get_submodule(layer)
        linear = isinstance(module, nn.Linear)
        prune = torch_pruning.prune_linear_out_channels if linear else torch_pruning.prune_conv_out_channels
        found: Tensor = criterion(self._graph.get_pruning_group(module, prune, list(range(width))))
        return found.cpu()


def assert_alike(scores: Tensor, wanted: Tensor, group: ChannelGroup) -> None:
    """The same scores but for rounding, and the same order of channels."""
    scores = scores.detach().float()
    assert torch.allclose(scores, wanted, rtol=1e-4), group.name
    assert torch.equal(scores.argsort(stable=True), wanted.argsort(stable=True)), group.name


def test_group_norm_ranks_as_torch_pruning_does(case: Case) -> None:
    asked = Asked(case)
    criterion = torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="sum", normalizer=None)
    for group in case.groups:
        assert_alike(group_norms(group), asked.scores(criterion, group.layers[0], group.width), group)


def test_slimming_ranks_as_torch_pruning_does(case: Case) -> None:
    asked = Asked(case)
    criterion = torch_pruning.importance.BNScaleImportance(group_reduction="mean", normalizer=None)
    for group in case.groups:
        assert_alike(group.norm_scales, asked.scores(criterion, group.layers[0], group.width), group)


def test_fpgm_ranks_as_torch_pruning_does(case: Case) -> None:
    network = deepcopy(case.network).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    asked = Asked(replace(case, network=network, images=case.images.double()))
    criterion = torch_pruning.importance.FPGMImportance(p=1, group_reduction="first", normalizer=None)
    for group in (replace(each, network=network) for each in case.groups):
        found = [asked.scores(criterion, layer, group.width) for layer in group.layers]
        assert_alike(distances(group), torch.stack(found).sum(0), group)


# -- NumPy --------------------------------------------------------------------------------------------------------


def test_distances_as_numpy_has_them(case: Case) -> None:
    for group in case.groups:
        total = np.zeros(group.width)
        for layer in group.layers:
            filters = case.network.get_parameter(f"{layer}.weight").detach().double().numpy().reshape(group.width, -1)
            squares = (filters**2).sum(1)
            total += np.sqrt(np.maximum(squares[:, None] + squares - 2 * filters @ filters.T, 0)).sum(1)
        assert np.allclose(distances(group).numpy(), total), group.name


def lamp_by_numpy(weights: Tensor) -> Array:
    squares = weights.detach().double().numpy().ravel() ** 2
    order = np.argsort(squares, kind="stable")
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.cumsum(squares[order][::-1])[::-1]
    return scores.reshape(weights.shape)


def test_lamp_scores_as_numpy_has_them(case: Case) -> None:
    for name, parameter in case.network.named_parameters():
        if parameter.dim() > 1 and parameter.numel() < 600_000:
            assert np.allclose(lamp_scores(parameter).numpy(), lamp_by_numpy(parameter)), name


@pytest.mark.parametrize("case", ["resnet20"], indirect=True)
def test_lamp_keeps_the_largest_scores_over_all_layers(case: Case, make_trial: Make, noise: Data) -> None:
    trial = make_trial(deepcopy(case.network), data=noise, target="params=0.2")
    Lamp().prune(trial)
    masks = {name: mask for name, mask in trial.surgery.weights.masks.items() if mask.dim() > 1}
    scores = np.concatenate([lamp_by_numpy(trial.network.get_parameter(name)).ravel() for name in masks])
    assert_largest_stay(scores, masks)


def assert_largest_stay(scores: Array, masks: dict[str, Tensor]) -> None:
    """Under the masks are the largest scores, but for rounding; some stay and some go."""
    kept = np.concatenate([mask.numpy().ravel() for mask in masks.values()])
    assert 0.1 < kept.mean() < 0.3
    assert scores[kept].min() >= scores[~kept].max() * (1 - 1e-5)


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


@SLOW_VGG16
def test_snip_as_numpy_has_it(case: Case, make_trial: Make, noise: Data) -> None:
    trial = make_trial(deepcopy(case.network), data=noise, target="params=0.2")
    trial.config = SNIPConfig(images=8)
    with unwatched(trial) as network:
        images, labels = first_images(trial, 8)
        nn.functional.cross_entropy(network.train()(images), labels).backward()
    SNIP().prune(trial)
    masks = {name: mask for name, mask in trial.surgery.weights.masks.items() if mask.dim() > 1}
    named = dict(network.named_parameters())
    assert set(masks) == {name for name, each in named.items() if each.dim() > 1}
    felt = [
        np.abs(each.grad.numpy() * each.detach().numpy()).ravel() for each in map(named.get, masks) if each is not None
    ]  # type: ignore[union-attr]
    assert_largest_stay(np.concatenate(felt), masks)


@SLOW_VGG16
def test_synflow_as_numpy_has_it(case: Case, make_trial: Make, noise: Data) -> None:
    trial = make_trial(deepcopy(case.network), data=noise, target="params=0.5")
    drawn = generator("masks")
    masks = {name: torch.rand(mask.shape, generator=drawn) < 0.7 for name, mask in trial.surgery.weights.masks.items()}
    trial.surgery.weights.set(masks)
    scores = flow_scores(trial)
    with unwatched(trial) as network, torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)
        network.double().load_state_dict({name: each.abs() for name, each in network.state_dict().items()})
    outputs = network(torch.ones(1, 3, 32, 32, dtype=torch.float64)).sum()
    outputs.backward()
    for name, mask in masks.items():
        if mask.dim() > 1:
            parameter = network.get_parameter(name)
            wanted = parameter.detach().numpy() * parameter.grad.numpy()  # type: ignore[union-attr]
            assert np.allclose(scores[name].numpy()[mask], wanted[mask]), name
            assert (scores[name].numpy()[~mask] < 0).all(), name
    last = "fc.weight" if "fc.weight" in masks else "fc2.weight"  # what flows through the last layer is all there is
    flow = scores[last][masks[last]].sum() + network.get_parameter(last.replace("weight", "bias")).sum()
    assert flow.item() == pytest.approx(outputs.item())


def activation_of(layer: str) -> str:
    """Where a layer's maps are looked at: behind the ReLU that follows it, after the add where nothing stands between.

    The second convolution of a block with a projection is looked at behind its normalisation, before the add.
    """
    block, _, last = layer.rpartition(".")
    if last == "conv2":
        return f"{block}.{'bn2' if block in ('stage2.0', 'stage3.0') else 'relu2'}"
    if last == "conv" and block.endswith("shortcut"):
        return f"{block.removesuffix('.shortcut')}.relu2"
    return layer.replace("conv", "relu").replace("fc", "relu")


def maps_by_layer(case: Case, trial: Trial, images: int) -> dict[str, NDArray[np.float32]]:
    """Maps [N, C, H, W] by layer, of the first training images."""
    maps: dict[str, NDArray[np.float32]] = {}
    with unwatched(trial) as network, torch.no_grad():
        for group in case.groups:
            for layer in group.layers:

                def keep(_module: nn.Module, _inputs: object, output: Tensor, layer: str = layer) -> None:
                    maps[layer] = (output if output.dim() == 4 else output[..., None, None]).numpy()

                network.get_submodule(activation_of(layer)).register_forward_hook(keep)
        network(first_images(trial, images)[0])
    return maps


def test_ranks_as_numpy_has_them(case: Case, make_trial: Make, noise: Data) -> None:
    trial = make_trial(deepcopy(case.network), data=noise)
    scores = channel_scores(trial, lambda seen: {name: mean_ranks(maps) for name, maps in seen.items()}, images=4)
    maps = maps_by_layer(case, trial, 4)
    for group in case.groups:
        wanted = np.sum([np.linalg.matrix_rank(maps[layer]).mean(0) for layer in group.layers], 0)
        assert np.allclose(scores[group.name].numpy(), wanted), group.name
    assert all(len(each.unique()) > 1 for each in scores.values())


def independence_by_numpy(maps: NDArray[np.float32]) -> Array:
    """The mean over images of the nuclear norm less that without each channel, by singular values."""
    total = np.zeros(maps.shape[1])
    for image in maps.astype(np.float64).reshape(*maps.shape[:2], -1):
        whole = np.linalg.norm(image, "nuc")
        total += [whole - np.linalg.norm(np.delete(image, channel, 0), "nuc") for channel in range(len(image))]
    return total / len(maps)


@SLOW_VGG16
def test_independence_as_numpy_has_it(case: Case, make_trial: Make, noise: Data) -> None:
    trial = make_trial(deepcopy(case.network), data=noise)
    scores = channel_scores(trial, lambda seen: {name: independence(maps) for name, maps in seen.items()}, images=1)
    maps = maps_by_layer(case, trial, 1)
    for group in case.groups:
        wanted = np.sum([independence_by_numpy(maps[layer]) for layer in group.layers], 0)
        half_digits = 1e-8 * wanted.sum()  # singular values by way of their squares, in float64
        assert np.allclose(scores[group.name].numpy(), wanted, rtol=1e-5, atol=half_digits), group.name
