"""Ratios of a record, against networks counted by hand."""

import pytest
import torch
from torch import nn

from bench.measure.macs import count_macs
from bench.measure.network import layers_of
from bench.measure.size import measure_size
from bench.records.record import Measured
from bench.runner.record_builder import ratios_of


def _network(conv: int, linear: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, conv, 3), nn.Flatten(), nn.Linear(4 * conv, linear), nn.Linear(linear, 2))


def _measured(network: nn.Module) -> Measured:
    size, macs = measure_size(network), count_macs(network, (1, 4, 4))
    return Measured(
        top1_val=1,
        top1_test=1,
        correct_test="",
        macs=macs.total,
        macs_nonzero=macs.total,
        params=size.params,
        nonzero=size.nonzero,
        weights=size.weights,
        weights_nonzero=size.weights_nonzero,
        bytes=1,
        peak_bytes=1,
        latency=(),
        weights_sha256="",
    )


def test_compression_of_a_sparse_network_with_biases_and_without() -> None:
    dense, sparse = _network(2, 3), _network(2, 3)
    weights = [p for p in sparse.parameters() if p.ndim > 1]
    biases = [p for p in sparse.parameters() if p.ndim == 1]
    with torch.no_grad():
        for parameter in (*weights, *biases):
            parameter.zero_()
        for weight in weights:
            weight.view(-1)[:2] = 0.5  # two weights a layer stay, and one bias in all
        biases[0][0] = 1.0
    ratios = ratios_of(_measured(dense), _measured(sparse), (), set())
    # 2x1x3x3 + 3x8 + 2x3 = 48 weights and 2 + 3 + 2 = 7 biases; 6 and 1 are left
    assert ratios.compression == pytest.approx(55 / 7)
    assert ratios.compression_weights == pytest.approx(48 / 6)
    assert (ratios.macs, ratios.params) == (1.0, 1.0)  # zeros are no removal


def test_filters_removed_of_all_and_as_the_mean_of_the_layers() -> None:
    dense, pruned = _network(10, 4), _network(9, 1)
    layers = layers_of(dense, pruned, (1, 4, 4))
    ratios = ratios_of(_measured(dense), _measured(pruned), layers, {"0", "2"})
    assert ratios.filters_removed == pytest.approx(4 / 14)
    assert ratios.filters_removed_by_layer == pytest.approx((1 / 10 + 3 / 4) / 2)
