"""Finding the channel groups of a network: `trace_groups` against torch-pruning's dependency graph with its groups.

Ours follows every operation in both modes, counts, and tries every removal on a copy: the ratio is what that proof
costs. It is paid once a run. The limit is three times torch-pruning's time or 0.3 s, whichever is more, and never more
than that plus ten forward passes.
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
from .surveyed_networks import SURVEYED, Surveyed

NETWORKS = ("lenet5", "resnet20")
FACTOR, FLOOR_SECONDS, FORWARDS = 3.0, 0.3, 10


def theirs(network: nn.Module, shape: tuple[int, int, int]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(network, torch.ones(1, *shape), verbose=False)
        return len(list(graph.get_all_groups(root_module_types=(nn.Conv2d, nn.Linear))))


def forward(network: nn.Module, shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        network(torch.ones(1, *shape))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("find", [trace_groups, theirs], ids=["bench", "torch-pruning"])
def test_groups(benchmark: Any, name: str, find: Callable[..., Any]) -> None:
    benchmark.pedantic(find, setup=lambda: (build(name), {}), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ratio(ratio: Callable[..., float], name: str) -> None:
    ratio(f"trace_groups / torch-pruning's groups, {name}", trace_groups, theirs, lambda: build(name), rounds=5)


@pytest.mark.parametrize("surveyed", SURVEYED, ids=lambda surveyed: surveyed.name)
def test_the_limit(turns: Callable[..., list[float]], capsys: pytest.CaptureFixture[str], surveyed: Surveyed) -> None:
    """One line of the README's table: ours, torch-pruning's, a forward pass, and whether the limit holds."""
    network = surveyed.build().eval()
    calls = [lambda run=run: run(network, surveyed.shape) for run in (trace_groups, theirs, forward)]
    mine, rival, once = turns(*calls, rounds=3)
    limit = FLOOR_SECONDS if rival is None else max(FACTOR * rival, FLOOR_SECONDS)
    held = "yes" if mine <= limit else "within ten passes more" if mine <= limit + FORWARDS * once else "no"
    shown = "fails" if rival is None else f"{rival:.2f}"
    with capsys.disabled():
        print(f"\n| {surveyed.name} | {surveyed.size} | {mine:.2f} | {shown} | {once:.3f} | {held} |", end="")
