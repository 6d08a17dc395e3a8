"""Spatial entropy by hand, dead channels, and entropy-rl's reward."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench import Trial, UsageError
from bench.methods._entropy import (
    NetworkEntropy,
    live_maps,
    map_layer,
    most_entropy,
    spatial_entropy,
)
from bench.methods.entropy_rl import EntropyRLConfig
from bench.networks.lenet import LeNet5
from bench.networks.resnet import ResNet20
from bench.networks.vgg import VGG16
from bench.rl import Walk

Make = Callable[..., Trial]


def entropy(rows: list[list[float]], levels: int = 16) -> float:
    return float(spatial_entropy(torch.tensor(rows), levels))


# -- one map ------------------------------------------------------------------------------------------------------


def test_a_constant_map_has_none() -> None:
    assert entropy([[3.0] * 4] * 4) == 0
    assert entropy([[0.0] * 5] * 4) == 0


def test_a_checkerboard_has_two_kinds_of_pairs_each_way() -> None:
    # 4x4: 12 pairs each way, 6 of (0, 15) and 6 of (15, 0)
    board = [[float((row + column) % 2) for column in range(4)] for row in range(4)]
    assert entropy(board) == pytest.approx(math.log(2))


def test_a_gradient_has_three_kinds_of_pairs_along_and_four_across() -> None:
    # columns of levels 0, 5, 10, 15: along it (0,5), (5,10), (10,15), 4 each; across it (0,0) to (15,15), 3 each
    assert entropy([[0.0, 1.0, 2.0, 3.0]] * 4) == pytest.approx((math.log(3) + math.log(4)) / 2)


def test_an_edge_by_hand() -> None:
    # 2x2, one pixel up: along (15,0), (0,0); across (15,0), (0,0): ln 2 each way
    assert entropy([[1.0, 0.0], [0.0, 0.0]]) == pytest.approx(math.log(2))
    # 2x3: along 4 pairs: (0,0), (0,15), (0,0), (0,15): ln 2; across 3 pairs: (0,0) twice, (15,15) once
    across = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert entropy([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]) == pytest.approx((math.log(2) + across) / 2)


def test_a_map_whose_pixels_all_differ_has_as_much_as_there_is() -> None:
    # 16 levels in 16 places: all 12 pairs each way differ
    drawn = torch.randperm(16, generator=torch.Generator().manual_seed(0)).view(4, 4).float()
    assert float(spatial_entropy(drawn, 16)) == pytest.approx(math.log(12))
    assert most_entropy(4, 4, 16) == pytest.approx(math.log(12))
    assert most_entropy(32, 32, 16) == pytest.approx(math.log(256))  # 992 pairs, 256 kinds


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_noise_matches_a_count_of_its_pairs(levels: int) -> None:
    maps = torch.randn(3, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    found = spatial_entropy(maps, levels)
    assert found.shape == (3, 5)
    for image, channel in ((0, 0), (2, 4)):
        grid = maps[image, channel]
        level = ((grid - grid.min()) / (grid.max() - grid.min()) * levels).long().clamp(max=levels - 1).tolist()
        along = Counter((row[i], row[i + 1]) for row in level for i in range(6))
        down = Counter((level[j][i], level[j + 1][i]) for j in range(5) for i in range(7))
        counted = [-sum(n / c.total() * math.log(n / c.total()) for n in c.values()) for c in (along, down)]
        assert float(found[image, channel]) == pytest.approx(sum(counted) / 2, abs=1e-5)


def test_what_carries_no_signal() -> None:
    maps = torch.randn(4, 5, 6, 6, generator=torch.Generator().manual_seed(2))
    maps[:, 0] = 0  # dead
    maps[:, 1] = 7  # constant
    maps[:, 2] = torch.eye(6)  # structure, but the same for every image
    maps[1:, 3] = 0  # silent for three of four images
    assert live_maps(maps).tolist() == [[False, False, False, True, True]] + [[False] * 4 + [True]] * 3


# -- where maps are -----------------------------------------------------------------------------------------------


def test_maps_are_taken_after_the_activation_that_follows() -> None:
    vgg = VGG16().build(VGG16.input)
    assert map_layer(vgg, "features.conv3_2") == "features.relu3_2"
    resnet = ResNet20().build(ResNet20.input)
    assert map_layer(resnet, "conv1") == "relu1"
    assert map_layer(resnet, "stage1.0.conv2") == "stage1.0.relu2"
    assert map_layer(resnet, "stage2.0.shortcut.conv") == "stage2.0.relu2"
    lenet = LeNet5().build(LeNet5.input)
    assert map_layer(lenet, "conv1") == "conv1"  # it has no activation there


# -- a network ----------------------------------------------------------------------------------------------------


class Two(nn.Module):
    """Two convolutions; channels 0 to 3 of the first are dead, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.fc = nn.Linear(8, 4)
        with torch.no_grad():
            self.first.weight[:4] = 0
            self.first.bias[:4] = -1.0
            self.second.bias += 0.1

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu2(self.second(self.relu1(self.first(images))))
        return self.fc(maps.mean((2, 3)))


def rewards(make_trial: Make, *kept: list[int], **settings: object) -> list[float]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trial = make_trial(Two(), budget=60.0)
    trial.config = EntropyRLConfig.model_validate(settings)
    value = NetworkEntropy(trial, 32, 96)
    assert value.reward(None) == -1
    found = []
    for first in kept:
        walk = Walk({}, {}, {"first": torch.tensor(first), "second": torch.arange(8)})
        with trial.surgery.masked(walk.keep):
            found.append(value.reward(walk))
    return found


def test_an_agent_is_not_paid_for_killing_a_layer(make_trial: Make) -> None:
    alive, killed = rewards(make_trial, [4, 5, 6, 7], [0, 1, 2, 3])
    assert killed < alive
    assert killed < -1


def test_without_the_guard_it_is(make_trial: Make) -> None:
    alive, killed = rewards(make_trial, [4, 5, 6, 7], [0, 1, 2, 3], guard_dead=False)
    assert killed > alive
    assert killed > -0.75  # the highest of all: next to no entropy, since next to no signal


def test_channels_that_are_off_do_not_count(make_trial: Make) -> None:
    # the first four are dead: without them in the mean, and without the guard, the network has more entropy
    (alive,) = rewards(make_trial, [4, 5, 6, 7], guard_dead=False)
    (whole,) = rewards(make_trial, list(range(8)), guard_dead=False)
    assert whole == -1
    assert alive < whole


@pytest.mark.parametrize(("weigh", "expected"), [("macs", 1 / 4), ("plain", 1.0)])
def test_a_narrow_layer_counts_by_the_macs_of_the_channels_that_are_left(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch, weigh: str, expected: float
) -> None:
    # the first layer has entropy 1, the second 3: keeping 2 of 8 channels weighs the first a quarter of what it did
    trial = make_trial(Two(), budget=60.0)
    trial.config = EntropyRLConfig.model_validate({"weigh": weigh})
    value, seen = NetworkEntropy(trial, 8, 96), iter([1.0, 3.0, 1.0, 3.0])
    monkeypatch.setattr(value, "_layer_entropy", lambda *_found: next(seen))
    first, second = (8 * group.macs_per_channel if weigh == "macs" else 1 for group in trial.surgery.groups)
    dense = (first * 1.0 + second * 3.0) / (first + second)
    narrow = (expected * first * 1.0 + second * 3.0) / (expected * first + second)
    assert value.reward(None) == -1
    with trial.surgery.masked(keep := {"first": torch.tensor([0, 1]), "second": torch.arange(8)}):
        assert value.reward(Walk({}, {}, keep)) == pytest.approx(-narrow / dense)


def test_the_reward_sees_what_evaluations_see_and_costs_as_much(make_trial: Make) -> None:
    trial = make_trial(budget=60.0)
    trial.config = EntropyRLConfig()
    before = trial.ledger.search_left
    NetworkEntropy(trial, 32, 96).reward(None)
    between = trial.ledger.search_left
    trial.evaluate(images=32)
    assert before - between == pytest.approx(between - trial.ledger.search_left)
    assert before - between == pytest.approx(trial.price(32))


def test_a_network_without_maps_is_refused_in_words_that_help(make_trial: Make) -> None:
    trial = make_trial(budget=60.0)
    trial.config = EntropyRLConfig(smallest=9)
    with pytest.raises(UsageError, match="reward=accuracy"):
        NetworkEntropy(trial, 8, 96).reward(None)
