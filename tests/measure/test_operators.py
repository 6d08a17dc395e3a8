"""MACs of single operators, each counted by hand; where torch's own counter knows the operator, it agrees."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import UncountedOperator, UsageError
from bench.measure import operators
from bench.measure.macs import count_macs, macs_nonzero
from bench.measure.operators import register_handler


class Calls(nn.Module):
    """A network that is one function of its input."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class First(nn.Module):
    """The first output of a module, as recurrent layers and attention have several."""

    def __init__(self, module: nn.Module, inputs: int = 1) -> None:
        super().__init__()
        self.module, self.inputs = module, inputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.module(*[x] * self.inputs)
        return out[0] if isinstance(out, tuple) else out


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


def macs(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> int:
    return count_macs(Calls(function), shape).total


def torch_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copy.deepcopy(network).eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        (lambda x: torch.tensordot(x, ones(6, 5), dims=1), (4, 6), 4 * 6 * 5),
        (lambda x: torch.tensordot(x, ones(4, 7, 6), dims=([2, 1], [2, 0])), (4, 6), 4 * 6 * 7),
        (lambda x: torch.inner(x, ones(5, 6)), (4, 6), 4 * 6 * 5),
        # (4x6)(6x3)(3x7) is cheapest from the left; (1x6)(6x9)(9x2) from the left, (2x9)... from the right.
        (lambda x: torch.linalg.multi_dot([x[0], ones(6, 3), ones(3, 7)]), (4, 6), 4 * 6 * 3 + 4 * 3 * 7),
        (lambda x: torch.linalg.multi_dot([x[0].t(), ones(4, 9), ones(9, 2)]), (4, 6), 4 * 9 * 2 + 6 * 4 * 2),
        (lambda x: torch.chain_matmul(x[0], ones(6, 3), ones(3, 7)), (4, 6), 4 * 6 * 3 + 4 * 3 * 7),
        (lambda x: torch.linalg.matrix_power(x, 5), (4, 4), 3 * 4**3),
        (lambda x: x.clone().baddbmm_(x, x), (4, 4), 4**3),
        (lambda x: torch.einsum("bij,jk,kl->bil", x, ones(6, 5), ones(5, 7)), (4, 6), 4 * 6 * 5 + 4 * 5 * 7),
    ],
)
def test_products_agree_with_torch(function: Callable[[Tensor], Tensor], shape: tuple[int, ...], expected: int) -> None:
    assert macs(function, shape) == expected
    if "baddbmm_" not in str(function.__code__.co_names):  # which torch leaves out
        assert torch_macs(Calls(function), shape) == expected


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        (lambda x: torch.linalg.vecdot(x, ones(5, 4, 6)), (4, 6), 5 * 4 * 6),
        (lambda x: torch.vdot(x[0, 0], x[0, 0]), (4, 6), 6),
        (lambda x: torch.inner(x, torch.tensor(2.0)), (4, 6), 0),
        (lambda x: torch.cov(x[0]), (4, 6), 4 * 4 * 6),
        (lambda x: torch.cdist(x, ones(1, 3, 6)), (4, 6), 4 * 3 * 6),
        (lambda x: torch.cdist(x, x, p=1.0), (4, 6), 4 * 4 * 6),
        (lambda x: F.pdist(x[0]), (4, 6), 6 * 6),  # 4 points have 6 pairs
        (
            lambda x: torchvision.ops.deform_conv2d(x, ones(1, 18, 8, 8), ones(5, 3, 3, 3), padding=1),
            (3, 8, 8),
            8 * 8 * 5 * 3 * 9,
        ),
        (
            lambda x: torchvision.ops.deform_conv2d(x, ones(1, 18, 3, 3), ones(6, 2, 3, 3), stride=2, padding=0),
            (4, 8, 8),
            3 * 3 * 6 * 2 * 9,  # two groups
        ),
    ],
)
def test_products_that_torch_does_not_count(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], expected: int
) -> None:
    assert macs(function, shape) == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"),
        lambda x: F.interpolate(x, size=(3, 3), mode="bilinear", antialias=True),
        lambda x: F.interpolate(x, size=(3, 3), mode="bicubic", antialias=True),
        lambda x: torchvision.ops.roi_align(x, torch.tensor([[0.0, 0, 0, 4, 4]]), 2),
        lambda x: torchvision.ops.roi_pool(x, torch.tensor([[0.0, 0, 0, 4, 4]]), 2),
        lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2), align_corners=False),
        lambda x: F.fractional_max_pool2d(x, 2, output_size=3),
        lambda x: F.local_response_norm(torch.special.expit(x), 3) + torch.kron(x, ones(1, 1)),
    ],
)
def test_resizing_sampling_and_pooling_are_free(function: Callable[[Tensor], Tensor]) -> None:
    assert macs(function, (3, 8, 8)) == 0


@pytest.mark.parametrize(
    ("function", "shape", "transforms", "values", "real"),
    [
        (lambda x: torch.fft.fft(x).real, (4, 8), 4, 8, False),
        (lambda x: torch.fft.fft(x, dim=1).real, (4, 8), 8, 4, False),
        (lambda x: torch.fft.fft2(x).real, (3, 8, 8), 3, 64, False),
        (lambda x: torch.fft.fftn(x, dim=(1, 2, 3)).real, (3, 8, 8), 1, 192, False),
        (lambda x: torch.fft.rfft(x).abs(), (4, 8), 4, 8, True),
        (lambda x: torch.fft.rfft(x, n=16).abs(), (4, 8), 4, 16, True),
        (lambda x: torch.fft.rfft(x).abs(), (4, 9), 4, 9, True),
        (lambda x: torch.fft.rfft2(x, norm="ortho").abs(), (3, 8, 6), 3, 48, True),
        (lambda x: torch.fft.irfft(torch.complex(x, x), n=14), (4, 8), 4, 14, True),
        (lambda x: torch.stft(x, 16, 4, window=ones(16), return_complex=True).abs(), (64,), 17, 16, True),
        (lambda x: torch.fft.fftshift(x), (4, 8), 1, 1, True),
    ],
)
def test_fourier_transforms(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], transforms: int, values: int, real: bool
) -> None:
    operations = transforms * 5 * values * math.log2(values) * (0.5 if real else 1.0)
    assert macs(function, shape) == round(operations / 2)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.LSTM(6, 5, batch_first=True), (7, 6), 7 * 4 * (6 * 5 + 5 * 5)),
        (nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True), (7, 6), 7 * 2 * 4 * 5 * (6 + 5 + 10 + 5)),
        (nn.LSTM(6, 5, proj_size=3, batch_first=True, bias=False), (7, 6), 7 * (20 * 6 + 20 * 3 + 3 * 5)),
        (nn.GRU(6, 5, batch_first=True), (7, 6), 7 * 3 * 5 * (6 + 5)),
        (nn.RNN(6, 5, nonlinearity="relu", batch_first=True), (7, 6), 7 * 5 * (6 + 5)),
        (nn.GRU(6, 5), (7, 6), 7 * 3 * 5 * (6 + 5)),  # one step of seven sequences
        (nn.LSTMCell(6, 5), (6,), 4 * 5 * (6 + 5)),
        (nn.GRUCell(6, 5), (6,), 3 * 5 * (6 + 5)),
    ],
)
def test_recurrent_layers(layer: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert count_macs(First(layer), shape).by_layer["module"] == expected


def test_a_packed_sequence_costs_its_steps() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 5, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x.expand(2, 7, 6), torch.tensor([7, 3]), batch_first=True)
            return self.lstm(packed)[1][0]

    assert count_macs(Packed(), (7, 6)).total == (7 + 3) * 4 * 5 * (6 + 5)


@pytest.mark.parametrize(
    "attend",
    [
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=torch.zeros(5, 5), scale=0.1),
        lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True),
        lambda q, k, v: F.scaled_dot_product_attention(q[:, :1], k, v),  # one query for all heads, broadcast
        lambda q, k, v: F.scaled_dot_product_attention(q[0], k[0], v[0]),
        lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[0],
        lambda q, k, v: torch.ops.aten._scaled_dot_product_attention_math(q, k, v)[0],
        lambda q, k, v: torch.softmax(q @ k.mT, -1) @ v,
    ],
)
def test_attention_in_all_its_forms(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    assert macs(lambda x: attend(x, x, x), (4, 5, 8)) == 4 * 2 * (5 * 5 * 8)


def test_attention_with_other_keys_and_values() -> None:
    assert macs(lambda x: F.scaled_dot_product_attention(x, x[..., :3, :], x[..., :3, :2]), (4, 5, 8)) == (
        4 * 5 * 3 * (8 + 2)
    )


@pytest.mark.parametrize("inputs", ["same", "different"])
def test_multihead_attention(inputs: str) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x if inputs == "same" else x + 1, x)[0]

    assert count_macs(Attends(), (5, 8)).total == 5 * 4 * 8 * 8 + 2 * 5 * 5 * 8


def test_a_bilinear_layer_uses_each_weight_once() -> None:
    assert count_macs(First(nn.Bilinear(6, 6, 3), inputs=2), (4, 6)).total == 4 * 3 * 6 * 6


@pytest.mark.parametrize(
    "parametrise",
    [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal, nn.utils.weight_norm],
)
def test_a_parametrised_weight_is_made_once_and_costs_nothing(parametrise: Callable[[nn.Module], nn.Module]) -> None:
    network = nn.Sequential(parametrise(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 2))
    assert count_macs(network, (6,)).total == 24 + 8
    assert macs_nonzero(network, (6,)) == 24 + 8


def test_nonzero_weights_of_every_kind_of_layer() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.lstm = nn.LSTM(8, 4, batch_first=True)
            self.mix = nn.Parameter(ones(4, 5))
            self.normed = parametrizations.weight_norm(nn.Linear(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.lstm(self.attention(x, x, x)[0])[0]
            return self.normed(x @ self.mix)

    network = Mixed()
    tokens, products = 5, 2 * 5 * 5 * 8
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
        network.attention.in_proj_weight[:12] = 0  # half of 24 rows
        network.attention.out_proj.weight[:2] = 0  # a quarter
        network.lstm.weight_ih_l0[0, :3] = 0
        network.mix[0] = 0
        network.normed.parametrizations.weight.original1[0] = 0
    expected = tokens * (12 * 8 + 6 * 8 + (16 * 12 - 3) + 15 + 10) + products
    assert macs_nonzero(network, (tokens, 8)) == expected
    assert count_macs(network, (tokens, 8)).total == tokens * (24 * 8 + 8 * 8 + 16 * 12 + 20 + 15) + products


def test_a_compiled_network_is_counted_as_it_was_written() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    expected = count_macs(plain, (3, 8, 8)).total
    assert count_macs(torch.compile(copy.deepcopy(plain), backend="eager"), (3, 8, 8)).total == expected
    plain.compile(backend="eager")
    assert count_macs(plain, (3, 8, 8)).total == expected


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_block_is_counted_or_refused(reentrant: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.b, self.a(x), use_reentrant=reentrant)

    assert count_macs(Net(), (4,)).total == 32


class Solves(nn.Module):
    """An operator that no list has, two floors down."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.ModuleDict({"solve": Calls(lambda x: torch.linalg.inv(x + torch.eye(4)))})

    def forward(self, x: Tensor) -> Tensor:
        return self.head["solve"](self.head["solve"](x))


def test_an_unknown_operator_is_an_error_that_shows_how_to_count_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "_registered", {})
    with pytest.raises(UncountedOperator, match=r"aten::linalg_inv \(2x, in head\.solve\)") as caught:
        count_macs(Solves(), (4, 4))
    lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("    ")]
    exec("\n".join(lines), {})  # as a user pastes them
    assert count_macs(Solves(), (4, 4)).total == 2 * 16
    register_handler("aten::linalg_inv", lambda inputs, outputs: operators.shape_of(inputs[0])[-1] ** 3)
    assert count_macs(Solves(), (4, 4)).total == 2 * 64
    register_handler("aten::linalg_inv", None)
    assert count_macs(Solves(), (4, 4)).total == 0


def test_a_handler_that_fails_names_operator_and_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "_registered", {})
    register_handler("aten::linalg_inv", lambda inputs, outputs: 1 // 0)
    with pytest.raises(UncountedOperator, match=r"aten::linalg_inv in head\.solve .*ZeroDivisionError"):
        count_macs(Solves(), (4, 4))


def test_a_negative_power_is_not_counted_as_a_product() -> None:
    with pytest.raises(UncountedOperator, match="aten::linalg_matrix_power in Calls .*inverts"):
        macs(lambda x: torch.linalg.matrix_power(x + torch.eye(4), -2), (4, 4))


def test_a_forward_that_fails_names_module_line_and_image() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(UsageError, match=r"shape \(3, 8, 8\) \(in 2, at \"return F.linear.*mat1 and mat2"):
        count_macs(network, (3, 8, 8))


def test_a_parameter_that_is_not_registered_is_refused() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(4, 4)]

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[0](x)

    with pytest.raises(UncountedOperator, match=r"not its own \(in Hidden, at \"return self.layers.*nn.ModuleList"):
        count_macs(Hidden(), (4,))


def test_what_the_tracer_cannot_follow_is_named() -> None:
    class Flexible(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return flex_attention(x, x, x)

    network = nn.Sequential(nn.Linear(4, 4), Flexible())
    with pytest.raises(UncountedOperator, match=r"tracer.*in 1, at \"return flex_attention\(x, x, x\)"):
        count_macs(network, (2, 5, 4))


def test_unpooling_whose_checks_no_trace_passes_is_free() -> None:
    def unpool(x: Tensor) -> Tensor:
        small, where = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(small, where, 2)

    assert macs(unpool, (3, 8, 8)) == 0


@dataclass
class Answer:
    """What some libraries' networks return."""

    logits: Tensor
    hidden: tuple[Tensor, ...]


@pytest.mark.parametrize(
    "answer",
    [
        lambda y: Answer(y, (y,)),
        lambda y: {"logits": y, "aux": {"more": [y, None]}},
        lambda y: (y, 3, "name"),
    ],
)
def test_whatever_a_network_returns_it_is_counted(answer: Callable[[Tensor], object]) -> None:
    class Returns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> object:
            return answer(self.fc(x))

    assert count_macs(Returns(), (4,)).total == 16


def test_what_only_decides_is_counted_and_vmap_is_followed() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.fc = nn.Linear(4, 1), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x if self.gate(x).sum() > 1e9 else torch.vmap(self.fc)(x)

    assert count_macs(Gated(), (4,)).by_layer == {"gate": 4, "fc": 16}


def test_scripted_code_is_refused() -> None:
    with pytest.raises(UncountedOperator, match=r"scripted code in 0.*before torch.jit.script"):
        count_macs(nn.Sequential(torch.jit.script(nn.Linear(4, 4))), (4,))
