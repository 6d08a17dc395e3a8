"""torchvision's classifiers: built for any input, and initialised again in place."""

import pytest
import torch
from torch import nn

from bench.errors import UsageError
from bench.measure.macs import count_macs
from bench.networks.base import NetworkSpec
from bench.networks.registry import network


@pytest.mark.parametrize(("model", "macs"), [("resnet18", 1.814e9), ("mobilenet_v2", 0.301e9)])
def test_size_by_the_book(model: str, macs: float) -> None:
    found = network(f"torchvision:{model}")
    assert found.input == NetworkSpec(3, 224, 1000)
    assert count_macs(found.construct(found.input), found.input.shape).total == pytest.approx(macs, rel=0.001)


@pytest.mark.parametrize("model", ["shufflenet_v2_x1_0", "googlenet", "vit_b_16"])
def test_other_inputs_and_classes_and_the_same_weights_again(model: str) -> None:
    found = network(f"torchvision:{model}")
    spec = NetworkSpec(channels=1, size=64, classes=7)
    torch.manual_seed(0)
    built = found.build(spec)
    assert built(torch.zeros(2, 1, 64, 64)).shape == (2, 7)
    assert not any(getattr(module, "inplace", False) for module in built.modules())
    before = {name: value.clone() for name, value in built.named_parameters()}
    torch.manual_seed(0)
    found.initialise(built)
    assert all(torch.equal(before[name], value) for name, value in built.named_parameters())


def test_settings_reach_torchvision_and_wrong_ones_are_said() -> None:
    spec = NetworkSpec(3, 64, 7)
    narrow = network("torchvision:mobilenet_v2", {"width_mult": 0.5}).construct(spec)
    first = next(module for module in narrow.modules() if isinstance(module, nn.Conv2d))
    assert first.out_channels == 16
    with pytest.raises(UsageError, match=r"torchvision:resnet18 cannot be made with .*'width'.*Change the settings"):
        network("torchvision:resnet18", {"width": 2}).construct(spec)


def test_a_wrong_name_lists_near_ones() -> None:
    with pytest.raises(UsageError, match=r"no classifier 'resnet19'\. Near names: .*resnet18"):
        network("torchvision:resnet19")
