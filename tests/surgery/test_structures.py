"""Structures that people prune: each goes in the units that it allows, as masking does in both modes, at exact cost."""

import copy

import pytest
import torch
from timm.layers import ScaledStdConv2d
from torch import nn
from torch.nn import functional as F

from bench.errors import NotPrunable
from bench.measure.macs import count_macs
from bench.surgery import load_tensors_into, read_network, remove, save_network
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)


class Body(nn.Module):
    """Two convolutions and a head; subclasses say what happens between them."""

    width, reads = 16, 16

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, self.width, 3, padding=1), nn.Conv2d(self.reads, 12, 1)
        self.fc = nn.Linear(12, 5)
        self.build()

    def build(self):
        pass

    def between(self, x, image):
        return x

    def forward(self, x):
        return self.fc(F.relu(self.b(self.between(F.relu(self.a(x)), x))).mean((2, 3)))


class Auxiliary(Body):
    """A head that only training has."""

    def build(self):
        self.extra = nn.Linear(16, 5)

    def forward(self, x):
        h = F.relu(self.a(x))
        y = self.fc(F.relu(self.b(h)).mean((2, 3)))
        return (y, self.extra(h.mean((2, 3)))) if self.training else y


class Coordinates(Body):
    reads = 21

    def between(self, x, image):
        rows = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1).expand(len(x), 2, -1, x.shape[3])
        return torch.cat([image, x, rows], 1)


class Partial(Body):
    """C2f: one half goes on, both are concatenated."""

    reads = 24

    def build(self):
        self.inner = nn.Conv2d(8, 8, 3, padding=1)

    def between(self, x, image):
        left, right = x.chunk(2, 1)
        return torch.cat([left, right, F.relu(self.inner(right))], 1)


class Uneven(Body):
    """A split whose sizes the module has written down."""

    def build(self):
        self.sizes = [4, 12]
        self.left, self.right = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(12, 12, 5, padding=2, groups=12)

    def between(self, x, image):
        left, right = x.split(self.sizes, 1)
        return torch.cat([self.left(left), self.right(right)], 1)


class Gated(Body):
    width, reads = 32, 16

    def between(self, x, image):
        value, gate = x.chunk(2, 1)
        return value * gate.sigmoid()


class Subpixel(Body):
    width, reads = 16, 4

    def between(self, x, image):
        return F.pixel_shuffle(x, 2)


class Scaled(Body):
    """Bare parameters and buffers by channel, of three forms."""

    def build(self):
        self.gain, self.shift = nn.Parameter(torch.rand(1, 16, 1, 1)), nn.Parameter(torch.rand(16, 1, 1))
        self.register_buffer("mean", torch.rand(1, 16, 1, 1))

    def between(self, x, image):
        return (x - self.mean) * self.gain + self.shift


class Mixed(Body):
    """A matrix over the positions: a product without weights, whose cost follows the channels."""

    def build(self):
        self.register_buffer("mix", torch.rand(64, 64) / 64)

    def between(self, x, image):
        return torch.einsum("ncp,pq->ncq", x.flatten(2), self.mix.to(x.dtype)).reshape(x.shape)


class Weighted(Body):
    """A product that runs as an elementwise one and is counted as written."""

    def build(self):
        self.gate = nn.Linear(16, 16)

    def between(self, x, image):
        return torch.einsum("nchw,nc->nchw", x, self.gate(x.mean((2, 3))).sigmoid())


class Folded(Body):
    """Channels as a batch, for one filter that all share."""

    def build(self):
        self.blur = nn.Conv2d(1, 1, 3, padding=1, bias=False)

    def between(self, x, image):
        n, c, h, w = x.shape
        return self.blur(x.reshape(n * c, 1, h, w)).reshape(n, c, h, w)


class Relations(Body):
    """Non-local: every position looks at every other through a product over channels."""

    def build(self):
        self.q, self.k = nn.Conv2d(16, 6, 1), nn.Conv2d(16, 6, 1)

    def between(self, x, image):
        scores = self.q(x).flatten(2).transpose(1, 2) @ self.k(x).flatten(2)
        return (x.flatten(2) @ scores.softmax(-1).transpose(1, 2)).view_as(x)


class Padded(Body):
    """A shortcut that zeros fill up, as in CIFAR's ResNets."""

    reads = 24

    def build(self):
        self.wide = nn.Conv2d(16, 24, 3, padding=1)

    def between(self, x, image):
        return self.wide(x) + F.pad(x, (0, 0, 0, 0, 4, 4))


class Normed(Body):
    def build(self):
        self.b = torch.nn.utils.parametrizations.weight_norm(self.b)


class NormedAsBefore(Body):
    """The older form, by a hook that computes the weight."""

    def build(self):
        with torch.no_grad():  # what it computes has no history then, and can be copied
            self.a, self.b = torch.nn.utils.weight_norm(self.a), torch.nn.utils.weight_norm(self.b)


STRUCTURES = {
    Auxiliary: {"a": 16, "b": 12},
    Coordinates: {"a": 16, "b": 12},
    Partial: {"a": 8, "inner": 8, "b": 12},
    Uneven: {"a": 4, "a:2": 12, "b": 12},
    Gated: {"a": 16, "b": 12},
    Scaled: {"a": 16, "b": 12},
    Mixed: {"a": 16, "b": 12},
    Weighted: {"a": 16, "b": 12},
    Folded: {"a": 16, "b": 12},
    Relations: {"a": 16, "q": 6, "b": 12},
    Padded: {"a": 16, "b": 12},
    Normed: {"a": 16, "b": 12},
    NormedAsBefore: {"a": 16, "b": 12},
}


@pytest.mark.parametrize("kind", STRUCTURES, ids=lambda kind: kind.__name__)
def test_channels_go_as_masking_does(kind, prune_and_check):
    torch.manual_seed(0)
    network = kind()
    assert trace_groups(network, SHAPE).widths == STRUCTURES[kind]
    prune_and_check(network, SHAPE, times=2)


def test_blocks_of_a_pixel_shuffle_go_where_they_are_asked_for(prune_and_check):
    torch.manual_seed(0)
    groups = trace_groups(Subpixel(), SHAPE)
    assert groups.widths == {"b": 12}
    (left_out,) = groups.left_out
    assert left_out.name == "a"
    assert "one channel of every 4 of its filters" in left_out.reason
    assert trace_groups(Subpixel(), SHAPE, ["a", "b"]).widths == {"a": 4, "b": 12}
    prune_and_check(Subpixel(), SHAPE, ["a", "b"], times=2)


@pytest.mark.parametrize("left", [15, 14, 3])
def test_standardised_weights_are_the_same_without_channels_as_with_them_off(left, inputs):
    torch.manual_seed(0)
    network = Body()
    network.b = ScaledStdConv2d(16, 12, 1)  # one value a row goes where 15 channels are left
    groups = trace_groups(network, SHAPE)
    proof = remove(network, groups, {"a": torch.arange(left)}, inputs).proof
    assert max(proof.own.largest, proof.random.largest) < 1e-5
    assert network.b.in_channels == left


class Attention(nn.Module):
    """Fused queries, keys and values, with a bias a head, as in windows."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norm, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.rand(9, heads))
        self.register_buffer("places", torch.randint(9, (16, 16), generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        n, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, tokens, 3, self.heads, self.size).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.places.flatten()].view(tokens, tokens, -1).permute(2, 0, 1)
        scores = q @ k.transpose(-2, -1) * self.size**-0.5 + bias
        return x + self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, self.heads * self.size))


class Transformer(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.patches, self.attention = nn.Conv2d(3, 16, 2, 2), attention
        self.norm, self.up, self.down, self.fc = (
            nn.LayerNorm(16),
            nn.Linear(16, 24),
            nn.Linear(24, 16),
            nn.Linear(16, 5),
        )

    def forward(self, x):
        x = self.attention(self.patches(x).flatten(2).transpose(1, 2))
        return self.fc((x + self.down(F.gelu(self.up(self.norm(x))))).mean(1))


def test_heads_and_neurons_of_a_transformer_go(prune_and_check, tmp_path, inputs):
    torch.manual_seed(0)
    network = Transformer(Attention(16, 4))
    fresh = copy.deepcopy(network)
    groups = trace_groups(network, SHAPE)
    assert groups.widths == {"attention.qkv": 4, "up": 24}
    assert groups["attention.qkv"].weight.shape == (4, 3 * 4, 16)
    (left_out,) = [out for out in groups.left_out if out.name == "patches"]
    assert "LayerNorm" in left_out.reason
    remove(network, groups, {"attention.qkv": torch.tensor([1, 3]), "up": torch.arange(7)}, inputs)
    assert (network.attention.heads, network.attention.size, network.attention.table.shape) == (2, 4, (9, 2))
    save_network(network, tmp_path / "network.safetensors", {})
    load_tensors_into(fresh, read_network(tmp_path / "network.safetensors")[1])
    assert fresh.attention.heads == 2
    assert torch.allclose(fresh(inputs), network(inputs), atol=1e-6)
    prune_and_check(Transformer(Attention(16, 4)), SHAPE, times=2)


def test_the_heads_of_torchs_own_attention_stay_with_the_reason():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.heads = nn.LayerNorm(16), nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x):
            y = self.norm(x)
            return x + self.heads(y, y, y, need_weights=False)[0]

    groups = trace_groups(Transformer(Own()), SHAPE)
    assert groups.widths == {"up": 24}
    reasons = {out.name: out.reason for out in groups.left_out}
    assert "ties its embedding (16) to heads x head size" in reasons["attention.heads"]


@pytest.mark.parametrize(("roll", "offered"), [(False, {"b"}), (True, {"b"})])
def test_what_a_hook_does_is_part_of_the_network(roll, offered):
    network = Body()
    gain = torch.rand(1, 16, 1, 1) + 0.5
    network.a.register_forward_hook(lambda module, given, output: output.roll(1, 1) if roll else output * gain)
    groups = trace_groups(network, SHAPE)
    assert set(groups.widths) == offered
    assert "change places (roll)" in groups.left_out[0].reason or "size does not follow" in groups.left_out[0].reason


class Unknown(Body):
    def between(self, x, image):
        return torch.fft.fft2(x).real + x.flip(1)


def test_an_operation_that_cannot_be_followed_costs_what_lies_around_it():
    groups = trace_groups(Unknown(), SHAPE)
    assert groups.widths == {"b": 12}
    assert any(word in groups.left_out[0].reason for word in ("fft", "flip"))
    assert "the network (Unknown)" in groups.left_out[0].reason


class FixedView(Body):
    """The width of `b`'s maps stands in the code."""

    def build(self):
        self.fc = nn.Linear(12 * 8 * 8, 5)

    def forward(self, x):
        return self.fc(F.relu(self.b(F.relu(self.a(x)))).view(-1, 12 * 8 * 8))


def test_a_width_that_stands_in_the_code_keeps_its_group_and_no_other(prune_and_check):
    groups = trace_groups(FixedView(), SHAPE)
    assert groups.widths == {"a": 16}
    (left_out,) = groups.left_out
    assert left_out.name == "b"
    assert "shape" in left_out.reason or "view" in left_out.reason
    prune_and_check(FixedView(), SHAPE)


class Direct(Body):
    """One layer by its `forward`, one by the function, neither by a call."""

    functional = False

    def forward(self, x):
        h = F.relu(F.conv2d(x, self.a.weight, self.a.bias, padding=1) if self.functional else self.a.forward(x))
        return self.fc(F.relu(self.b.forward(h)).mean((2, 3)))


@pytest.mark.parametrize("functional", [False, True])
def test_layers_that_are_not_called_are_counted_and_pruned(prune_and_check, functional):
    network = Direct()
    network.functional = functional
    called = Body()
    assert count_macs(network, SHAPE).total == count_macs(called, SHAPE).total
    assert trace_groups(network, SHAPE).widths == trace_groups(called, SHAPE).widths
    prune_and_check(network, SHAPE)


class BareWeight(Body):
    def build(self):
        self.filters = nn.Parameter(torch.rand(16, 16, 3, 3))

    def between(self, x, image):
        return F.relu(F.conv2d(x, self.filters, padding=1))


def test_a_bare_parameter_is_said_to_belong_to_no_layer(prune_and_check):
    groups = trace_groups(BareWeight(), SHAPE)
    assert groups.widths == {"a": 16, "b": 12}
    (left_out,) = groups.left_out
    assert left_out.name == "filters"
    assert "bare parameter" in left_out.reason


class Changing(Body):
    def forward(self, x):
        return super().forward(x.sub_(0.5))


class Random(Body):
    def between(self, x, image):
        return F.dropout(x, 0.5)


class Named(Body):
    def forward(self, x):
        return {"logits": super().forward(x)}


class Pair(Body):
    """Takes two images."""

    def forward(self, x, y):
        return super().forward(x) - super().forward(y)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Pair(), "does not run on an input of shape"),
        (Changing(), "changes its input in place"),
        (Random(), "gives two answers"),
        (Named(), "returns dict"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(9, 2)), "does not run on an input of shape"),
    ],
    ids=["two inputs", "in place", "random", "dictionary", "wrong size"],
)
def test_networks_about_which_nothing_can_be_proven_are_refused_with_the_reason(network, reason):
    with pytest.raises(NotPrunable, match=reason):
        trace_groups(network, SHAPE)


def test_a_module_under_two_names_is_one(prune_and_check):
    network = Body()
    network.alias, network.list = network.a, nn.ModuleList([network.a, network.b])
    assert trace_groups(network, SHAPE).widths == {"a": 16, "b": 12}
    prune_and_check(network, SHAPE, times=1)
    assert network.alias is network.a
