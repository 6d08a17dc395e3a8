"""What may be written as `keep`, and masks that leave no trace."""

import copy

import pytest
import torch

from bench.errors import SurgeryError
from bench.surgery import full_keep, masked
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)


@pytest.fixture
def groups(build):
    return trace_groups(build("plain"), SHAPE)


def test_indices_masks_and_groups_left_out_mean_the_same(groups):
    by_index = full_keep(groups, {"conv1": torch.tensor([4, 0])})
    by_mask = full_keep(groups, {"conv1": torch.tensor([True, False, False, False, True, False])})
    assert by_index["conv1"].tolist() == by_mask["conv1"].tolist() == [0, 4]
    assert by_index["conv2"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"conv3": torch.tensor([0])}, r"conv3.*Did you mean 'conv"),
        ({"conv1": torch.tensor([], dtype=torch.long)}, "no group is ever empty"),
        ({"conv1": torch.zeros(6, dtype=torch.bool)}, "no group is ever empty"),
        ({"conv1": torch.tensor([0, 6])}, r"out of range. Use 0 to 5"),
        ({"conv1": torch.tensor([-1])}, "out of range"),
        ({"conv1": torch.tensor([2, 2])}, "channel 2 is kept twice"),
        ({"conv1": torch.tensor([True])}, "mask of 1 entries"),
        ({"conv1": torch.tensor([0.0, 1.0])}, "float32"),
        ({"conv1": torch.tensor(3)}, "Give a vector"),
    ],
)
def test_a_keep_that_does_not_fit_is_refused(groups, keep, message):
    with pytest.raises(SurgeryError, match=message):
        full_keep(groups, keep)


@pytest.mark.parametrize("name", ["plain", "flatten", "residual", "depthwise", "concat"])
def test_masks_zero_and_restore_bitwise(name, build, random_keep):
    network = build(name)
    groups = trace_groups(network, SHAPE)
    before = copy.deepcopy(network.state_dict())
    keep = random_keep(groups, 3)
    with masked(network, groups, keep):
        tensors = network.state_dict()
        for group in groups:
            off = [c for c in range(group.width) if c not in keep[group.name].tolist()]
            for owned in group.slices:
                if not owned.tensor.endswith(("running_var", "running_mean")):
                    assert not tensors[owned.tensor].index_select(owned.dim, owned.index[off].flatten()).any()
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_masks_are_left_on_errors_too(build):
    network = build("residual")
    groups = trace_groups(network, SHAPE)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ValueError, match="inside"), masked(network, groups, {"conv1": torch.tensor([1])}):
        raise ValueError("inside")
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_what_happens_to_other_weights_inside_stays(build):
    network = build("plain")
    with masked(network, trace_groups(network, SHAPE), {"conv1": torch.tensor([1])}), torch.no_grad():
        network.conv1.bias.fill_(7)
    assert network.conv1.bias[1] == 7
    assert (network.conv1.bias[[0, 2, 3, 4, 5]] != 7).all()
