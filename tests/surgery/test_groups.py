"""Which groups a network offers, what their channels own, and which are left out and why."""

import copy
import re

import pytest
import torch
from torch import nn

from bench.errors import NotPrunable, SurgeryError, UsageError
from bench.networks.registry import network as network_named
from bench.surgery import remove
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)
RESNET8 = {  # a stage's add ties its last convolution to its shortcut's, the first stage's to the stem
    "conv1": 16,
    "stage1.0.conv1": 16,
    "stage2.0.conv1": 32,
    "stage2.0.conv2": 32,
    "stage3.0.conv1": 64,
    "stage3.0.conv2": 64,
}


def owned(group, tensor, dim):
    (found,) = [s.index.tolist() for s in group.slices if (s.tensor, s.dim) == (tensor, dim)]
    return found


def test_plain_network_offers_its_convolutions(build):
    groups = trace_groups(build("plain"), SHAPE)
    assert groups.widths == {"conv1": 6, "conv2": 5}
    assert {(s.tensor, s.dim) for s in groups["conv1"].slices} == {
        ("conv1.weight", 0),
        ("conv1.bias", 0),
        ("conv2.weight", 1),
    }
    assert groups.left_out == ()


def test_savings_of_one_channel_by_hand(build):
    groups = trace_groups(build("plain"), SHAPE)
    # conv1 on 8x8: 3*9 weights and a bias; conv2 reads it with 5*9 weights
    assert groups["conv1"].params_per_channel == 3 * 9 + 1 + 5 * 9
    assert groups["conv1"].macs_per_channel == (3 * 9 + 5 * 9) * 64
    # conv2: 6*9 weights and a bias; fc1 reads it with 7
    assert groups["conv2"].params_per_channel == 6 * 9 + 1 + 7
    assert groups["conv2"].macs_per_channel == 6 * 9 * 64 + 7


def test_patterns_choose_layers_and_the_classifier_is_never_offered(build):
    assert trace_groups(build("plain"), SHAPE, ["*"]).widths == {"conv1": 6, "conv2": 5, "fc1": 7}
    assert trace_groups(build("plain"), SHAPE, ["fc1"]).widths == {"fc1": 7}
    with pytest.raises(NotPrunable, match="no channel group"):
        trace_groups(build("plain"), SHAPE, ["fc2"])
    with pytest.raises(UsageError, match=r"convl.*conv1"):
        trace_groups(build("plain"), SHAPE, ["convl"])


def test_residual_adds_tie_layers(build):
    groups = trace_groups(build("residual"), SHAPE)
    assert {group.name: group.layers for group in groups} == {
        "stem.0": ("stem.0", "conv2"),
        "conv1": ("conv1",),
        "conv3": ("conv3", "shortcut"),
    }
    assert [weight.shape[0] for weight in groups["stem.0"].weights] == [6, 6]


def test_flatten_gives_a_channel_several_inputs(build):
    group = trace_groups(build("flatten"), SHAPE)["conv2"]
    assert owned(group, "fc.weight", 1) == [[4 * c, 4 * c + 1, 4 * c + 2, 4 * c + 3] for c in range(5)]
    assert owned(group, "norm.running_mean", 0) == [[c] for c in range(5)]


def test_concatenation_gives_an_offset(build):
    groups = trace_groups(build("concat"), SHAPE)
    assert owned(groups["conv2"], "norm3.weight", 0) == [[6], [7], [8], [9]]
    assert owned(groups["conv3"], "fc.weight", 1) == [[10], [11], [12], [13]]
    assert owned(groups["conv1"], "norm2.running_var", 0) == [[c] for c in range(6)]


def test_depthwise_convolution_belongs_to_the_group(build):
    groups = trace_groups(build("depthwise"), SHAPE)
    assert groups["expand"].layers == ("expand", "spatial", "excite")
    assert set(groups.widths) == {"expand", "squeeze", "project"}


@pytest.mark.parametrize(
    ("name", "shape", "widths"),
    [
        ("lenet5", (1, 28, 28), {"conv1": 20, "conv2": 50}),
        ("vgg16", (3, 32, 32), None),
        ("vgg19", (3, 32, 32), None),
        ("resnet20", (3, 32, 32), None),
        ("resnet8", (3, 32, 32), RESNET8),
    ],
)
def test_own_networks_offer_groups(name, shape, widths):
    plugin = network_named(name)
    network = plugin.build(type(plugin.input)(shape[0], shape[1], 10))
    groups = trace_groups(network, shape, plugin.prunable)
    assert groups.left_out == ()
    if widths is not None:
        assert groups.widths == widths


def test_mobilenets_depthwise_convolutions_go_with_their_expansions():
    plugin = network_named("mobilenetv2")
    groups = trace_groups(plugin.build(plugin.input), plugin.input.shape)
    assert groups.left_out == ()
    assert (
        len(groups) == 1 + 17 + 7
    )  # the stem, one in each block, one for each width of the bottlenecks and of the end
    assert groups["features.2.conv.0.0"].layers == ("features.2.conv.0.0", "features.2.conv.1.0")
    assert groups["features.3.conv.0.0"].width == 6 * 24
    assert groups["features.4.conv.2"].layers == ("features.4.conv.2", "features.5.conv.2", "features.6.conv.2")


def test_tracing_leaves_no_trace(build):
    network = build("residual").train()
    network.stem[1].eval()
    network.conv1.weight.requires_grad_(False)
    network.conv2.weight.grad = torch.ones_like(network.conv2.weight)
    calls = []

    def watch(*_):
        calls.append(1)

    watch.__module__ = "bench.trial.guard"  # the harness's hooks see nothing of it; the network's own are part of it
    network.conv1.register_forward_hook(watch)
    before = copy.deepcopy(network.state_dict())
    versions = [parameter._version for parameter in network.parameters()]
    state = torch.get_rng_state()
    with torch.no_grad():
        trace_groups(network, SHAPE)
    assert calls == []
    assert len(network.conv1._forward_hooks) == 1
    assert not any("_bench" in name for tensor in network.parameters() for name in vars(tensor))
    assert torch.equal(torch.get_rng_state(), state)
    assert versions == [parameter._version for parameter in network.parameters()]
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert [m.training for m in (network, network.stem[0], network.stem[1])] == [True, True, False]
    assert not network.conv1.weight.requires_grad
    assert torch.equal(network.conv2.weight.grad, torch.ones_like(network.conv2.weight))


def test_weights_are_live_and_differentiable(build, inputs):
    network = build("plain")
    groups = trace_groups(network, SHAPE)
    group = groups["conv1"]
    assert group.weight is network.conv1.weight
    group.weight.abs().sum().backward()
    assert torch.equal(network.conv1.weight.grad, network.conv1.weight.sign())
    removal = remove(network, groups, {"conv1": torch.tensor([0, 3])}, inputs)
    assert removal.groups["conv1"].weight is network.conv1.weight
    with pytest.raises(SurgeryError, match="out of date"):
        _ = group.weight


class Sandwich(nn.Module):
    """conv - something in the middle - conv - linear; another group (conv0) that can always be pruned."""

    def __init__(self, middle, width=8):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, width, 3, padding=1)
        self.middle = middle
        self.conv2 = nn.Conv2d(width, 5, 3, padding=1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = self.conv2(self.middle(self.conv1(self.conv0(x))))
        return self.fc(x.mean((2, 3)))


class Shuffle(nn.Module):
    def forward(self, x):
        return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


class Halves(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, 1)
        return a.relu() + b.tanh()


class Slices(nn.Module):
    def forward(self, x):
        return torch.cat([x[:, :3].relu(), x[:, 3:].tanh()], 1)


class OwnSum(nn.Module):
    def forward(self, x):
        return x + torch.cat([x[:, 4:], x[:, :4]], 1)


class MinusMean(nn.Module):
    def forward(self, x):
        return x - x.mean(1, keepdim=True)


class Written(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 8, 8, 8)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        return x * self.scale


class Gate(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat([a.relu(), b.tanh()], 1)


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (nn.GroupNorm(1, 8), "middle.*not the same without a channel as with a zero"),
        (nn.LocalResponseNorm(3), "."),
        (nn.Softmax2d(), "not the same as zeroing"),
        (OwnSum(), "cut at a fixed place in middle"),
        (Slices(), "cut at a fixed place in middle"),
        (MinusMean(), "mean over its channels in middle.*not the same as zeroing"),
        (Written(), "forward fails at another width"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_groups_that_cannot_be_removed_are_left_out_with_the_reason(middle, reason):
    groups = trace_groups(Sandwich(middle), SHAPE)
    assert set(groups.widths) == {"conv0", "conv2"}
    (left_out,) = [out for out in groups.left_out if out.name == "conv1"]
    assert re.search(reason, left_out.reason)


@pytest.mark.parametrize(
    ("middle", "width"),
    [
        (nn.GroupNorm(4, 8), 4),  # whole norm groups of two channels
        (nn.GroupNorm(4, 8, affine=False), 4),
        (nn.InstanceNorm2d(8), 8),
        (nn.InstanceNorm2d(8, affine=True), 8),
        (nn.Conv2d(8, 8, 3, padding=1, groups=2), 4),  # the same share of both groups
        (nn.Conv2d(8, 16, 3, padding=1, groups=8), 8),  # a channel with both its filters
        (nn.ConvTranspose2d(8, 8, 3, padding=1), 8),
        (nn.ConvTranspose2d(8, 8, 3, padding=1, groups=2), 4),
        (nn.ConvTranspose2d(8, 16, 3, padding=1, groups=8), 8),
        (nn.Conv2d(8, 4, 3, padding=1, groups=4), 4),  # two channels with the filter that reads them
        (nn.ConvTranspose2d(8, 4, 3, padding=1, groups=4), 4),
        (Shuffle(), 4),
        (nn.ChannelShuffle(2), 4),
        (Halves(), 4),
        (Scale(), 8),
        (Gate(), 4),
        (nn.Sequential(nn.Conv2d(8, 8, 1), nn.GLU(1)), 8),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_channels_go_in_the_units_that_the_middle_allows(middle, width, prune_and_check):
    network = Sandwich(middle)
    network.conv2 = nn.Conv2d(middle(torch.zeros(1, 8, 8, 8)).shape[1], 5, 3, padding=1)
    assert trace_groups(network, SHAPE).widths["conv1"] == width
    prune_and_check(network, SHAPE)


def test_weights_that_two_layers_share_tie_them(prune_and_check):
    middle = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    middle[1].weight = middle[0].weight
    network = Sandwich(middle)
    assert trace_groups(network, SHAPE)["conv1"].layers == ("conv1", "middle.0")
    prune_and_check(network, SHAPE)
    assert middle[1].weight is middle[0].weight


def test_a_network_without_groups_is_refused_with_reasons():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    with pytest.raises(NotPrunable, match=r"unstructured(?s:.*)0: 1 \(GroupNorm\) normalises over all its"):
        trace_groups(network, SHAPE)


def test_hidden_outputs_are_not_offered():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
            self.conv2 = nn.Conv2d(4, 5, 3, padding=1)
            self.head = nn.Conv2d(5, 2, 1)

        def forward(self, x):
            features = self.conv2(self.conv1(x).relu())
            return features, self.head(features)

    assert trace_groups(TwoHeads(), SHAPE).widths == {"conv1": 4}
