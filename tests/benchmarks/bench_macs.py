"""Counting multiply-accumulates: our count over fvcore, against torch's own FlopCounterMode.

They do different work: ours traces the network and attributes every operator to a layer, torch's runs the network once
and adds up. Their totals must agree.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.measure.macs import count_macs

from .conftest import NETWORKS, build


def theirs(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Torch counts two floating-point operations a multiply-accumulate."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("count", [lambda *a: count_macs(*a).total, theirs], ids=["bench", "FlopCounterMode"])
def test_count(benchmark: Any, name: str, count: Callable[..., int]) -> None:
    network, shape = build(name)
    assert benchmark(count, network, shape) == theirs(network, shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ratio(ratio: Callable[..., float], name: str) -> None:
    ratio(f"count_macs / FlopCounterMode, {name}", count_macs, theirs, lambda: build(name))
