"""Size, memory and latency: by hand where there is a number to know."""

import pytest
import safetensors.torch
import torch
from torch import nn

from bench.errors import UsageError
from bench.measure.latency import measure_latency
from bench.measure.memory import peak_bytes
from bench.measure.size import measure_size


def test_size_by_hand() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        network[0].weight[0] = 0
        network[0].bias.fill_(1)
        network[1].bias.fill_(1)
    size = measure_size(network)
    assert (size.params, size.nonzero) == (15 + 6, 15 + 6 - 4)
    assert (size.weights, size.weights_nonzero) == (12, 12 - 4)
    assert size.bytes == len(safetensors.torch.save(network.state_dict()))


def test_size_of_a_sparse_network_with_biases_and_without() -> None:
    # a convolution of 2 x 1 x 3 x 3 weights and 2 biases, a linear layer of 4 x 2 weights and 4 biases
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network[0].weight[0, 0, 1, 1] = 0.5
        network[0].weight[1, 0, 0, 2] = -1e-30
        network[0].bias[1] = 2.0
        network[2].weight[3] = torch.tensor([1.0, -1.0])
        network[2].bias[:3] = 1.0
    size = measure_size(network)
    assert (size.params, size.nonzero) == (18 + 2 + 8 + 4, 2 + 1 + 2 + 3)
    assert (size.weights, size.weights_nonzero) == (18 + 8, 2 + 2)


def test_a_shared_weight_is_counted_and_stored_once() -> None:
    tied, single = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40)), nn.Linear(40, 40)
    tied[1].weight = tied[0].weight
    size = measure_size(tied)
    assert size.params == 1600 + 80
    assert size.bytes < measure_size(single).bytes + 400


def test_peak_memory_by_hand() -> None:
    # float32: weights (4*8 + 8 + 8*2 + 2), input 3*4, then the largest pair of neighbours: 3*8 and 3*8.
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert peak_bytes(network, (4,), 3) == 4 * (58 + 12 + 24 + 24)
    in_place = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    assert peak_bytes(in_place, (4,), 3) == 4 * (58 + 12 + 24 + 6)


def test_peak_memory_counts_what_a_shortcut_keeps() -> None:
    class Shortcut(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = x * 2
            second = first * 2
            third = second * 2
            del second
            return first + third

    assert peak_bytes(Shortcut(), (10,), 1) == 4 * 10 * 4
    assert peak_bytes(Shortcut(), (10,), 5) == 5 * 4 * 10 * 4


def test_peak_memory_does_not_count_what_others_hold() -> None:
    network = nn.Sequential(nn.Linear(4, 4))
    alone = peak_bytes(network, (4,), 1)
    held = torch.zeros(10_000)
    assert peak_bytes(network, (4,), 1) == alone
    assert network.training
    assert held.numel()


def test_latency_gives_every_network_every_batch_and_the_same_runs() -> None:
    networks = {"dense": nn.Conv2d(3, 8, 3), "pruned": nn.Conv2d(3, 4, 3)}
    rows = measure_latency(networks, (3, 8, 8), batches=(1, 2), max_seconds=0.0)
    assert {name: [row.batch for row in row_list] for name, row_list in rows.items()} == {
        "dense": [1, 2],
        "pruned": [1, 2],
    }
    assert {row.runs for row_list in rows.values() for row in row_list} == {10}
    assert all(row.median_seconds > 0 and row.iqr_seconds >= 0 for row in rows["dense"])
    assert networks["dense"].training


def test_latency_images_are_channels_last_and_the_generator_is_left_alone() -> None:
    seen = []

    class Look(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((x.is_contiguous(memory_format=torch.channels_last), torch.is_inference_mode_enabled()))
            return x

    before = torch.get_rng_state()
    measure_latency({"look": Look()}, (3, 8, 8), batches=(2,), max_seconds=0.0)
    assert set(seen) == {(True, True)}
    assert torch.equal(before, torch.get_rng_state())


def test_latency_without_networks_is_refused() -> None:
    with pytest.raises(UsageError):
        measure_latency({}, (3, 8, 8))
