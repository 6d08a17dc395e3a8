"""Accuracy, and the bits of single images."""

import math

import pytest
import torch
from torch import nn

from bench.errors import UsageError
from bench.measure.accuracy import measure_accuracy, pack_bits, unpack_bits


def test_top_1_and_loss_by_hand() -> None:
    outputs = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 0])
    batches = [(outputs[:3], labels[:3]), (outputs[3:], labels[3:])]
    result = measure_accuracy(nn.Identity(), batches, classes=2, keep_correct=True)
    assert result.top1 == 0.5
    assert result.top5 is None
    assert result.images == 4
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert result.loss == pytest.approx((right + 2 * wrong + math.log(2)) / 4)
    assert result.correct is not None
    assert result.correct.tolist() == [True, False, False, True]


def test_top_5_where_there_are_more_than_10_classes() -> None:
    outputs = torch.arange(12.0).repeat(4, 1)
    result = measure_accuracy(nn.Identity(), [(outputs, torch.tensor([11, 7, 6, 0]))], classes=12)
    assert (result.top1, result.top5) == (0.25, 0.5)
    assert result.correct is None


def test_an_output_that_is_not_finite_is_wrong() -> None:
    outputs = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [1.0, 0.0]])
    assert measure_accuracy(nn.Identity(), [(outputs, torch.zeros(3).long())], classes=2).top1 == 1 / 3


def test_modes_and_statistics_are_left_alone() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    network[1].eval()
    measure_accuracy(network, [(torch.randn(4, 3), torch.zeros(4).long())], classes=3)
    assert [module.training for module in network.modules()] == [True, True, False]
    assert network[0].num_batches_tracked == 0


def test_a_function_that_runs_a_network_will_do() -> None:
    batches = [(torch.eye(3), torch.tensor([0, 1, 0]))]
    assert measure_accuracy(lambda images: images * 2, batches, classes=3).top1 == 2 / 3


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UsageError, match="no images"):
        measure_accuracy(nn.Identity(), [], classes=2)
    with pytest.raises(UsageError, match="3 classes"):
        measure_accuracy(nn.Identity(), [(torch.zeros(1, 2), torch.zeros(1).long())], classes=3)


@pytest.mark.parametrize("images", [0, 1, 8, 13, 1000])
def test_bits_survive_the_record(images: int) -> None:
    correct = torch.rand(images, generator=torch.Generator().manual_seed(images)) > 0.5
    assert torch.equal(unpack_bits(pack_bits(correct), images), correct)


def test_bits_are_in_numpy_order() -> None:
    assert pack_bits(torch.tensor([True] + 7 * [False])) == "gA=="  # 0x80


@pytest.mark.parametrize("text", ["gA==", "not base64!"])
def test_damaged_bits_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        unpack_bits(text, 9)
