"""The facade: everything in step over several removals."""

import pytest
import torch

from bench.errors import SurgeryError
from bench.measure.macs import count_macs
from bench.specs.target import Target
from bench.surgery import Surgery

SHAPE = (3, 8, 8)


@pytest.fixture
def make(build, inputs):
    def make(target="macs=0.5", name="residual"):
        network = build(name)
        params = sum(p.numel() for p in network.parameters())
        macs = count_macs(network, SHAPE).total
        return Surgery(network, SHAPE, None, macs, params, Target.parse(target), inputs)

    return make


def test_the_target_is_of_the_dense_network_over_several_removals(make):
    surgery = make("params=0.4")
    dense = surgery.params
    surgery.remove({"conv1": torch.arange(6)})
    surgery.remove(surgery.fit())
    assert abs(surgery.params / dense / 0.4 - 1) < 0.05
    assert surgery.cost({}) == {"macs": surgery.macs, "params": surgery.params}
    assert surgery.widths == {group.name: group.width for group in surgery.groups}


def test_cost_says_what_widths_would_cost(make):
    surgery = make()
    said = surgery.cost({"conv1": 3})
    surgery.remove({"conv1": torch.arange(3)})
    assert said == {"macs": surgery.macs, "params": surgery.params}


def test_weight_masks_follow_removals(make):
    surgery = make()
    surgery.weights.set({"conv1.weight": torch.rand(8, 6, 3, 3) > 0.5})
    mask = surgery.weights.masks["conv1.weight"]
    surgery.remove({"conv1": torch.tensor([1, 2])})
    assert torch.equal(surgery.weights.masks["conv1.weight"], mask[1:3])


def test_a_journaled_removal_is_repeated_without_proof(make):
    first, second = make(), make()
    keep = first.fit()
    assert first.remove(keep).proof is not None
    assert second.remove_unproven(keep).proof is None
    pairs = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_masking_goes_through(make, inputs):
    surgery = make()
    with surgery.masked({"conv1": torch.tensor([0])}):
        assert not surgery.network.conv1.weight[1:].any()
    assert surgery.network.conv1.weight[1:].all()
    assert surgery.left_out == ()


@pytest.mark.parametrize("target", ["auto", "none"])
def test_targets_without_size_cannot_be_fitted(make, target):
    with pytest.raises(SurgeryError, match="has no size to fit: choose widths yourself"):
        make(target).fit()


def test_unstructured_methods_need_no_groups(inputs):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    surgery = Surgery(network, SHAPE, None, 768, 772, Target.parse("params=0.1"), inputs)
    assert surgery.weights.total == 772
    assert surgery.macs == 768
