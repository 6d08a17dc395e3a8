"""From masks to removed channels: half of each group, against torch-pruning's own pruning of the same channels.

Graphs are built beforehand on both sides. `proven` tries the removal on a copy first and compares outputs with the
masked network's, as every removal in a run does; `plan` is the removal alone, which is what torch-pruning does.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
import torch_pruning
from torch import Tensor, nn

from bench.surgery.groups import Groups
from bench.surgery.remove import remove
from bench.surgery.trace import trace_groups

from .conftest import build

NAMES = ("lenet5", "resnet20")
Prepared = tuple[nn.Module, Groups, Mapping[str, Tensor], Tensor | None]


@cache
def traced(name: str) -> tuple[nn.Module, tuple[int, int, int], Groups]:
    network, shape = build(name)
    return network, shape, trace_groups(network, shape)


def prepared(name: str, proven: bool) -> Prepared:
    network, shape, groups = deepcopy(traced(name))
    keep = {group.name: torch.arange(group.width // 2) for group in groups}
    inputs = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)) if proven else None
    return network, groups, keep, inputs


def their_prepared(name: str) -> tuple[Any, ...]:
    network, shape, groups = deepcopy(traced(name))
    graph = torch_pruning.DependencyGraph().build_dependency(network, torch.ones(1, *shape), verbose=False)
    return network, graph, [(group.layers[0], list(range(group.width // 2, group.width))) for group in groups]


def theirs(network: nn.Module, graph: Any, gone: list[tuple[str, list[int]]]) -> None:
    for layer, channels in gone:
        module = network.get_submodule(layer)
        pruner = (
            torch_pruning.prune_conv_out_channels
            if isinstance(module, nn.Conv2d)
            else torch_pruning.prune_linear_out_channels
        )
        graph.get_pruning_group(module, pruner, idxs=channels).prune()


@pytest.mark.parametrize("name", NAMES)
def test_both_leave_the_same_network(name: str) -> None:
    ours = prepared(name, proven=True)
    remove(*ours)
    rival = their_prepared(name)
    theirs(*rival)
    assert [tuple(p.shape) for p in ours[0].parameters()] == [tuple(p.shape) for p in rival[0].parameters()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["proven", "plan", "torch-pruning"])
def test_removal(benchmark: Any, name: str, how: str) -> None:
    call: Callable[..., Any] = theirs if how == "torch-pruning" else remove
    make = (lambda: their_prepared(name)) if how == "torch-pruning" else (lambda: prepared(name, how == "proven"))
    benchmark.pedantic(call, setup=lambda: (make(), {}), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("proven", [True, False], ids=["proven", "plan"])
@pytest.mark.parametrize("name", NAMES)
def test_the_ratio(ratio: Callable[..., float], name: str, proven: bool) -> None:
    title = f"remove ({'proven' if proven else 'plan alone'}) / torch-pruning, {name}"
    ratio(title, remove, theirs, lambda: prepared(name, proven), lambda: their_prepared(name), rounds=5)
