"""Networks: found by name, of the published size, and the same again from the same seed."""

import pytest
import torch
from torch import nn

from bench.errors import UsageError
from bench.measure.macs import count_macs
from bench.networks.base import Network, NetworkSpec
from bench.networks.registry import all_networks, names, network

BUILT_IN = (
    "alexnet",
    "lenet300",
    "lenet5",
    "mobilenetv2",
    "resnet8",
    "resnet20",
    "resnet32",
    "resnet50",
    "resnet56",
    "resnet110",
    "vgg16",
    "vgg19",
    "vit-tiny32",
)


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a) and a.keys() == b.keys()


def test_the_built_in_networks_are_found_and_described() -> None:
    assert set(BUILT_IN) <= set(names())
    assert [n.name for n in all_networks()] == names()
    for found in all_networks():
        assert found.summary
        assert found.reference
    assert not any("timm" in name for name in names())


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        # conv1 20*25*24*24 + conv2 50*500*8*8 + fc1 800*500 + fc2 500*10
        ("lenet5", 288_000 + 1_600_000 + 400_000 + 5_000, 431_080),
        ("lenet300", 784 * 300 + 300 * 100 + 100 * 10, 266_610),
        ("vgg16", 313_463_808, 14_987_210),
        # table 1 of the slimming paper: 20.04 M parameters and 7.97e8 floating point operations, two for a MAC
        ("vgg19", 398_136_320, 20_035_018),
        # MLPerf Tiny's 12.5 M MACs; conv1 3*16*9*32*32, stage1 2*16*16*9*32*32, stage2 and stage3 each
        # (16*32*9 + 32*32*9 + 16*32)*16*16, fc 64*10
        ("resnet8", 442_368 + 4_718_592 + 2 * 3_670_016 + 640, 78_042),
        # stage1 10*16*16*9 weights on 32*32 places, stage2 16*32*9 + 9*32*32*9 + 16*32 on 16*16, stage3 as many MACs;
        # 0.46 M parameters in table 6 of the ResNet paper
        ("resnet32", 442_368 + 23_592_960 + 2 * 22_544_384 + 640, 466_906),
        ("resnet56", 125_747_840, 855_770),
        ("resnet110", 253_149_824, 1_730_714),
        ("alexnet", 714_188_480, 61_100_840),
        ("resnet50", 4_089_184_256, 25_557_032),
        # 64 patches of 3*16, then 65 tokens: 3+1 products of 64x64 and two of 64x128, and QK^T and AV; head 64*10
        ("vit-tiny32", 64 * 64 * 48 + 6 * (65 * (4 * 64 + 2 * 128) * 64 + 2 * 65 * 65 * 64) + 640, 208_970),
    ],
)
def test_size_by_the_book(name: str, macs: int, params: int) -> None:
    found = network(name)
    built = found.build(found.input)
    assert count_macs(built, found.input.shape).total == macs
    assert sum(p.numel() for p in built.parameters()) == params


@pytest.mark.parametrize("name", ["lenet300", "lenet5", "mobilenetv2", "resnet20", "resnet50", "vgg16", "vit-tiny32"])
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    found = network(name)
    torch.manual_seed(3)
    built = found.build(found.input)
    first = state(built)
    built(torch.randn(4, *found.input.shape))  # moves the statistics
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.zero_()
    torch.manual_seed(3)
    found.initialise(built)
    assert same(first, state(built))
    torch.manual_seed(4)
    found.initialise(built)
    assert not same(first, state(built))


def test_initialise_works_at_pruned_widths() -> None:
    found = network("resnet20")
    built = found.build(found.input)
    block = built.stage1[0]
    block.conv1, block.bn1 = nn.Conv2d(16, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
    block.conv2 = nn.Conv2d(5, 16, 3, padding=1, bias=False)
    nn.init.constant_(block.conv2.weight, 7.0)
    found.initialise(built)
    assert block.conv2.weight.std().item() == pytest.approx((2 / 45) ** 0.5, rel=0.15)
    assert built(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", BUILT_IN)
def test_other_inputs_and_classes(name: str) -> None:
    size = 64 if name == "alexnet" else 40
    spec = NetworkSpec(channels=2, size=size, classes=7)
    assert network(name).build(spec)(torch.zeros(2, 2, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", ["alexnet", "mobilenetv2", "resnet50"])
def test_no_layer_of_torchvisions_networks_overwrites_its_input(name: str) -> None:
    found = network(name)
    modules = found.build(NetworkSpec(channels=3, size=64, classes=2)).modules()
    assert {module.inplace for module in modules if isinstance(module, nn.ReLU | nn.ReLU6)} == {False}


def test_macs_of_mobilenetv2_by_hand() -> None:
    """Table 2 of its paper at 32x32, with stride 1 in the stem and in the second row."""
    rows = [  # expansion, channels, blocks, side after the first block
        (1, 16, 1, 32),
        (6, 24, 2, 32),
        (6, 32, 3, 16),
        (6, 64, 4, 8),
        (6, 96, 3, 8),
        (6, 160, 3, 4),
        (6, 320, 1, 4),
    ]
    macs, inputs, before = 3 * 32 * 9 * 32 * 32, 32, 32
    for expansion, outputs, blocks, side in rows:
        for _ in range(blocks):
            wide = inputs * expansion
            macs += inputs * wide * before**2 * (expansion > 1)
            macs += wide * 9 * side**2 + wide * outputs * side**2
            inputs, before = outputs, side
    macs += 320 * 1280 * 4 * 4 + 1280 * 10
    found = network("mobilenetv2")
    built = found.build(found.input)
    assert count_macs(built, found.input.shape).total == macs
    # torchvision's 3,504,872 parameters for 1,000 classes, less 1,280 weights and a bias for each of 990
    assert sum(p.numel() for p in built.parameters()) == 3_504_872 - 990 * 1_281


def test_resnet50_is_initialised_like_torchvisions() -> None:
    layer = network("resnet50").build(NetworkSpec(3, 32, 10)).layer3[0].conv2  # 256 to 256 channels, 3x3
    assert layer.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "vgg16"])
def test_every_activation_has_its_own_module(name: str) -> None:
    found = network(name)
    built = found.build(found.input)
    calls: dict[str, int] = {}
    for key, module in built.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda *_, key=key: calls.update({key: calls.get(key, 0) + 1}))
    built(torch.zeros(2, *found.input.shape))
    assert calls
    assert set(calls.values()) == {1}


def test_what_may_be_pruned() -> None:
    def prunable(name: str) -> list[str]:
        found = network(name)
        modules = found.build(found.input).named_modules()
        return [key for key, module in modules if found.may_prune(key, module)]

    assert prunable("lenet300") == ["fc1", "fc2"]
    assert prunable("lenet5") == ["conv1", "conv2"]
    assert len(prunable("vgg16")) == 13
    assert len(prunable("vgg19")) == 16
    assert prunable("alexnet") == [f"features.{place}" for place in (0, 3, 6, 8, 10)]


@pytest.mark.parametrize(("name", "size"), [("lenet5", 15), ("vgg16", 28), ("vgg19", 15), ("alexnet", 62)])
def test_too_small_an_image_is_refused(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=f"{size}x{size}"):
        network(name).build(NetworkSpec(3, size, 10))


def test_wrong_numbers_and_names_are_refused() -> None:
    with pytest.raises(UsageError, match="classes"):
        NetworkSpec(3, 32, 0)
    with pytest.raises(UsageError, match="'lenet5'"):
        network("lenet6")
    with pytest.raises(UsageError, match="resnet50"):
        network("timm:resnet5O")


def test_a_parameter_that_nothing_resets_is_refused() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    class Plugin(Network):
        name = "scaled"
        summary = reference = "a test"
        input = NetworkSpec(1, 4, 2)

        def construct(self, spec: NetworkSpec) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(16, 2), Scale())

    with pytest.raises(UsageError, match="scaled"):
        Plugin().build(Plugin.input)
