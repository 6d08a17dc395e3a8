"""Finding the channel groups of a network: `trace_groups` against torch-pruning's dependency graph with its groups.

Ours is built on theirs, traces in float64 and tries every removal on a copy: the ratio is what that proof costs.
It is paid once a run.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_pruning
from torch import nn

from bench.surgery.trace import trace_groups

from .conftest import build

NETWORKS = ("lenet5", "resnet20")


def theirs(network: nn.Module, shape: tuple[int, int, int]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(network, torch.ones(1, *shape))
        return len(list(graph.get_all_groups(root_module_types=(nn.Conv2d,))))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("find", [trace_groups, theirs], ids=["bench", "torch-pruning"])
def test_groups(benchmark: Any, name: str, find: Callable[..., Any]) -> None:
    benchmark.pedantic(find, setup=lambda: (build(name), {}), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ratio(ratio: Callable[..., float], name: str) -> None:
    ratio(f"trace_groups / torch-pruning's groups, {name}", trace_groups, theirs, lambda: build(name), rounds=5)
