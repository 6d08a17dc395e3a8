"""Whether a removal with a wrong index is found out, whatever the outputs look like, and a right one passes."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.errors import SurgeryError
from bench.surgery import remove
from bench.surgery.proof import OutputDifference, bare_copy, compare, outputs_of, prove
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """Two convolutions and a head, whose outputs are what `finish` makes of the logits."""

    def __init__(self, finish=lambda logits: logits):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 100)
        self.finish = finish

    def forward(self, x):
        return self.finish(self.fc(F.relu(self.b(F.relu(self.a(x)))).mean((2, 3))))


def groups_of(network, wrong):
    """The network's groups; if `wrong`, the second convolution's inputs are off by one channel."""
    groups = trace_groups(network, SHAPE)
    if not wrong:
        return groups

    def shifted(owned):
        return replace(owned, index=owned.index.roll(1, 0)) if (owned.tensor, owned.dim) == ("b.weight", 1) else owned

    offered = tuple(replace(group, slices=tuple(map(shifted, group.slices))) for group in groups)
    return replace(groups, offered=offered)


def zero_head(network):
    nn.init.zeros_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)


def small_head(network):
    nn.init.normal_(network.fc.weight, 0, 1e-6)


def large_bias(network):
    nn.init.normal_(network.fc.weight, 0, 1e-4)
    nn.init.constant_(network.fc.bias, 1000.0)


def dead(network):
    nn.init.constant_(network.b.bias, -100.0)


CASES = {
    "logits": (lambda logits: logits, lambda network: None),
    "probabilities": (lambda logits: logits.softmax(1), lambda network: None),
    "flat probabilities": (lambda logits: logits.softmax(1), small_head),
    "a head of zeros": (lambda logits: logits, zero_head),
    "a small head": (lambda logits: logits, small_head),
    "a large constant": (lambda logits: logits, large_bias),
    "a dead layer": (lambda logits: logits, dead),
    "a dictionary": (lambda logits: {"logits": logits, "classes": logits.argmax(1)}, lambda network: None),
    "complex": (lambda logits: torch.complex(logits, logits), lambda network: None),
}


@pytest.mark.parametrize("wrong", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_index_is_found_and_a_right_one_passes(case, wrong):
    torch.manual_seed(0)
    finish, initialise = CASES[case]
    network = Net(finish)
    initialise(network)
    groups = groups_of(Net() if case == "a dictionary" else network, wrong)  # tracing refuses a dictionary
    keep = {group.name: torch.arange(group.width // 2) for group in groups}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if wrong:
        with pytest.raises(SurgeryError, match="changes the outputs"):
            remove(network, groups, keep, torch.randn(8, *SHAPE))
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    else:
        proof = remove(network, groups, keep, torch.randn(8, *SHAPE)).proof
        assert proof.random.carries
        assert proof.own.carries == (case not in ("a head of zeros", "a dead layer"))
        assert ("proves nothing" in proof.words()) != proof.own.carries


def test_a_scale_of_a_branch_that_is_nothing_yet_hides_no_error():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
            self.gamma = nn.Parameter(torch.full((8, 1, 1), 1e-7))
            self.fc = nn.Linear(8, 10)

        def forward(self, x):
            x = self.stem(x)
            return self.fc((x + self.gamma * self.b(F.relu(self.a(x)))).mean((2, 3)))

    torch.manual_seed(0)
    network = Residual()
    groups = groups_of(network, wrong=True)
    assert "a" in groups.widths
    with pytest.raises(SurgeryError, match="with random weights"):
        remove(network, groups, {"a": torch.arange(4)}, torch.randn(8, *SHAPE))


def test_float64_decides_where_float32_cannot():
    torch.manual_seed(0)
    network = Net()
    large_bias(network)
    groups = groups_of(network, wrong=False)
    proof = remove(network, groups, {"a": torch.arange(4)}, torch.randn(8, *SHAPE)).proof
    assert proof.own.precision == "float64"
    assert proof.scale == pytest.approx(1000.0, rel=1e-3)
    assert proof.random.precision == "float32"


def test_a_network_that_says_nothing_is_refused_as_such():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(torch.ones(len(x), 3, dtype=x.dtype))

    with pytest.raises(SurgeryError, match=r"nothing can be proven.*outputs depend on its inputs"):
        prove(Constant(), lambda network: nullcontext(), lambda network: None, torch.randn(4, 3))


def test_spread_is_over_the_inputs_by_hand():
    before = torch.tensor([[100.0, 1.0], [100.5, 1.25]])
    difference = compare([before], [before + torch.tensor([0.25, 0.0])])
    assert difference == OutputDifference(largest=0.25, spread=0.5, scale=100.5)
    assert difference.within(0.5)
    assert not difference.within(0.49)
    alone = compare([before[:1]], [before[:1]])
    assert alone.spread == 99.0  # over the entries: there is one input


def test_of_several_outputs_each_is_held_against_its_own_spread():
    logits, probabilities = torch.tensor([[0.0], [100.0]]), torch.tensor([[0.001], [0.002]])
    difference = compare([logits, probabilities], [logits, probabilities + 0.001])
    assert difference.spread == pytest.approx(0.001)
    assert not difference.within(0.5)


def test_an_output_that_never_varies_must_stay_as_it_is():
    anchors, logits = torch.ones(2, 3), torch.tensor([[0.0], [1.0]])
    assert compare([anchors, logits], [anchors, logits]).carries
    assert not compare([anchors, logits], [anchors + 0.1, logits]).within(1e-4)


def test_a_copy_keeps_the_networks_own_hooks_and_its_input_is_its_own():
    network = nn.Sequential(nn.ReLU(inplace=True), nn.utils.weight_norm(nn.Linear(4, 3)))
    network[1].register_forward_hook(lambda module, inputs, output: output * 2)
    inputs = torch.randn(5, 4)
    given = inputs.clone()
    expected = network(inputs.clone()).detach()
    (found,) = outputs_of(bare_copy(network), inputs)
    assert torch.equal(found, expected)
    assert torch.equal(inputs, given)


def test_what_gives_no_numbers_is_refused():
    with pytest.raises(SurgeryError, match="returns Tensor, whose equality is not proven"):
        outputs_of(nn.Sequential(nn.Linear(4, 3), nn.Flatten(), _Argmax()), torch.randn(2, 4))


class _Argmax(nn.Module):
    def forward(self, x):
        return x.argmax(1)
