"""MACs of small networks, each counted by hand."""

import logging
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import UncountedOperator, UsageError
from bench.measure.macs import count_macs, macs_nonzero


class Calls(nn.Module):
    """A network that is one function of its input."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(3, 8, 3), (3, 10, 10), 8 * 3 * 9 * 8 * 8),
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 10), 8 * 3 * 9 * 10 * 10),
        (nn.Conv2d(3, 8, 3, padding=1, stride=2), (3, 10, 10), 8 * 3 * 9 * 5 * 5),
        (nn.Conv2d(4, 8, 3, groups=4, bias=False), (4, 10, 10), 8 * 1 * 9 * 8 * 8),
        (nn.Conv2d(3, 8, 3, padding="same"), (3, 10, 10), 8 * 3 * 9 * 10 * 10),
        (nn.Conv2d(3, 8, 3, dilation=2), (3, 10, 10), 8 * 3 * 9 * 6 * 6),
        (nn.ConvTranspose2d(3, 8, 2, stride=2), (3, 5, 5), 3 * 8 * 4 * 5 * 5),
        (nn.Conv1d(3, 8, 3), (3, 10), 8 * 3 * 3 * 8),
        (nn.Linear(6, 4), (6,), 24),
        (nn.Linear(6, 4, bias=False), (5, 6), 5 * 24),
        (nn.Linear(6, 4), (7, 5, 6), 35 * 24),
    ],
)
def test_layers(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    assert count_macs(layer, shape).total == macs


@pytest.mark.parametrize(
    ("function", "shape", "macs"),
    [
        (lambda x: x @ x.transpose(-1, -2), (4, 6), 4 * 6 * 4),
        (lambda x: torch.bmm(x, x.transpose(1, 2)), (4, 6), 4 * 6 * 4),
        (lambda x: torch.ones(5, 4) @ x, (3, 4, 6), 3 * 5 * 4 * 6),  # the left operand is broadcast
        (lambda x: torch.baddbmm(x @ x, x, x), (4, 4), 2 * 64),
        (lambda x: torch.addmm(x[0], x[0], x[0]), (4, 4), 64),
        (lambda x: x[0] @ torch.ones(6), (4, 6), 24),
        (lambda x: torch.einsum("bij,bkj->bik", x, x), (4, 6), 4 * 6 * 4),
        (lambda x: torch.einsum("...ij,jk->...ik", x, torch.ones(6, 5)), (3, 4, 6), 3 * 4 * 6 * 5),
        (lambda x: torch.einsum("bij,jk", x, torch.ones(6, 5)), (4, 6), 4 * 6 * 5),
        (lambda x: torch.einsum("bij->bji", x), (4, 6), 0),
        (lambda x: F.scaled_dot_product_attention(x, x, x), (2, 5, 8), 2 * (5 * 5 * 8 + 5 * 5 * 8)),
        (
            lambda x: F.scaled_dot_product_attention(x, x[:, :, :3], x[:, :, :3, :4]),
            (2, 5, 8),
            2 * 5 * 3 * 12,
        ),
        (lambda x: F.softmax(F.gelu(x), -1) * 2 + F.layer_norm(x, (6,)), (4, 6), 0),
    ],
)
def test_products(function: Callable[[Tensor], Tensor], shape: tuple[int, ...], macs: int) -> None:
    assert count_macs(Calls(function), shape).total == macs


def test_normalisation_pooling_resizing_and_activations_are_free() -> None:
    free = [
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.AdaptiveAvgPool2d(1),
    ]
    assert count_macs(nn.Sequential(*free), (3, 8, 8)).total == 0


def test_layers_are_named_and_add_up() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
            self.unused = nn.Linear(9, 9)

        def forward(self, x: Tensor) -> Tensor:
            x = self.body(self.body(x))  # twice
            return x @ torch.ones(4, 2)

    count = count_macs(Net(), (4,))
    assert count.by_layer == {"": 8, "body.0": 32, "body.2": 32, "unused": 0}
    assert count.total == 72


def test_a_function_whose_insides_are_hidden_is_an_error() -> None:
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x @ x

    with pytest.raises(UncountedOperator, match="Hidden"):
        count_macs(Calls(lambda x: Hidden.apply(x)), (4, 4))


def test_attention_costs_the_same_on_every_path() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    tokens, width = 5, 16
    attention = tokens * width * 3 * width + 2 * tokens * tokens * width + tokens * width * width
    assert count_macs(layer, (tokens, width)).total == attention + 2 * tokens * width * 32
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_fused_vit_costs_what_an_unfused_one_costs() -> None:
    from bench.networks.registry import network

    found = network("timm:vit_tiny_patch16_224")
    built = found.build(found.input)
    fused = count_macs(built, found.input.shape)
    for block in built.blocks:
        block.attn.fused_attn = False
    assert count_macs(built, found.input.shape) == fused


def test_counting_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    network[1].eval()
    calls: list[int] = []
    network.register_forward_hook(lambda *_: calls.append(1))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    generator = torch.get_rng_state()
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        count_macs(network, (3, 8, 8))
    assert calls == [1]
    assert not caplog.records
    assert modes == [module.training for module in network.modules()]
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_a_forward_that_fails_leaves_no_hooks() -> None:
    network = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(UsageError):
        count_macs(network, (5,))
    assert not network._forward_hooks
    assert not network[0]._forward_pre_hooks
    assert network.training


def test_nonzero_weights_alone() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4 * 4 * 4, 5))
    with torch.no_grad():
        network[0].weight[1:] = 0
        network[2].weight[0, 0] = 0
    assert count_macs(network, (2, 6, 6)).total == 72 * 16 + 320
    assert macs_nonzero(network, (2, 6, 6)) == 18 * 16 + 319
