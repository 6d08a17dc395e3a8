"""timm's models: built for any input where they allow it, and initialised again as timm does it."""

import pytest
import torch

from bench.errors import UsageError
from bench.measure.macs import count_macs
from bench.networks.base import NetworkSpec
from bench.networks.registry import network


@pytest.mark.parametrize(("model", "macs"), [("resnet50", 4.089e9), ("vit_tiny_patch16_224", 1.254e9)])
def test_size_by_the_book(model: str, macs: float) -> None:
    found = network(f"timm:{model}")
    assert found.input == NetworkSpec(3, 224, 1000)
    built = found.build(found.input)
    assert count_macs(built, found.input.shape).total == pytest.approx(macs, rel=0.001)


@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224", "mobilenetv2_100"])
def test_other_inputs_and_classes(model: str) -> None:
    built = network(f"timm:{model}").build(NetworkSpec(channels=1, size=32, classes=10))
    assert built.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224", "mobilenetv2_100"])
def test_initialise_draws_from_the_distribution_that_build_draws_from(model: str) -> None:
    found = network(f"timm:{model}")
    built = found.build(NetworkSpec(3, 32, 10) if "vit" in model else found.input)
    before = {key: value.clone() for key, value in built.named_parameters()}
    found.initialise(built)
    for key, value in built.named_parameters():
        if value.numel() < 500:
            continue
        assert value.std().item() == pytest.approx(before[key].std().item(), rel=0.2, abs=1e-6), key
        if before[key].std() > 0:
            assert not torch.equal(value, before[key]), key


def test_a_model_that_cannot_be_initialised_again_says_so_and_is_left_alone() -> None:
    found = network("timm:convnext_atto")
    built = found.build(NetworkSpec(3, 32, 10))
    before = {key: value.clone() for key, value in built.state_dict().items()}
    with pytest.raises(UsageError, match="scratch"):
        found.initialise(built)
    assert all(torch.equal(value, before[key]) for key, value in built.state_dict().items())
