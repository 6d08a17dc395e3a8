"""The dependency graph of a network: torch-pruning's tracing, and following channels through it.

Only the graph is used, never torch-pruning's pruners or groups: its groups merge entries that stem from different
channels, which hides that those channels are tied to each other.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency import DependencyGraph
from torch_pruning.dependency.node import Node
from torch_pruning.ops import OPTYPE

from bench.errors import NotPrunable

__all__ = ["Reached", "Side", "follow", "is_output_side", "produces", "trace"]

Side = tuple[Node, Callable]
"""A node and which of its channels are meant: those that it takes or those that it gives."""


@dataclass(frozen=True)
class Reached:
    """Everything that a layer's output channels reach.

    Attributes:
        owners: by node and side, the entries reached and the channel that each stems from.
        tangled: whether some entry stems from several channels, so that they cannot be removed one by one.
    """

    owners: dict[Side, dict[int, int]]
    tangled: bool


def trace(network: nn.Module, shape: tuple[int, int, int]) -> tuple[DependencyGraph, set[Node]]:
    """The dependency graph of a network in float64 on the CPU, and the nodes that are its outputs.

    Raises:
        NotPrunable: torch-pruning fails on the network.
    """
    ends: list[object] = []

    def keep_ends(outputs: object) -> object:
        listed = outputs if isinstance(outputs, tuple | list) else [outputs]
        ends.extend(output.grad_fn for output in listed if isinstance(output, Tensor))
        return outputs

    inputs = torch.ones(1, *shape, dtype=torch.float64)
    network.requires_grad_(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = DependencyGraph().build_dependency(network, inputs, output_transform=keep_ends, verbose=False)
    except Exception as error:  # torch-pruning fails in many ways on what it does not expect
        raise NotPrunable(
            f"torch-pruning cannot trace {type(network).__name__} ({type(error).__name__}: {error}). Choose "
            f"another network, or use an unstructured method."
        ) from error
    nodes = graph.module2node.values()
    return graph, {node for node in nodes if node.type == OPTYPE.OUTPUT or node.grad_fn in ends}


def follow(graph: DependencyGraph, layer: nn.Conv2d | nn.Linear) -> Reached:
    """Follows the output channels of a layer wherever they lead."""
    longest = max(length for parameter in graph.model.parameters() for length in parameter.shape)
    start = graph.module2node[layer], graph.get_pruner_of_module(layer).prune_out_channels
    channels = range(len(layer.weight))
    owners: dict[Side, dict[int, int]] = defaultdict(dict)
    owners[start] = dict(zip(channels, channels, strict=True))
    stack = [(*start, [_HybridIndex(idx=c, root_idx=c) for c in channels])]
    tangled = False
    while stack:
        node, side, entries = stack.pop()
        for edge in node.dependencies:
            if not edge.is_triggered_by(side):
                continue
            mapped = entries
            for mapping in edge.index_mapping:
                mapped = mapping(mapped) if mapping is not None else mapped
            known, fresh = owners[edge.target, edge.handler], []
            for entry in mapped:
                if entry.idx not in known and 0 <= entry.idx < longest:
                    known[entry.idx] = entry.root_idx
                    fresh.append(entry)
                elif known.get(entry.idx) != entry.root_idx:
                    tangled = True
            if fresh:
                stack.append((edge.target, edge.handler, fresh))
    return Reached({side: entries for side, entries in owners.items() if entries}, tangled)


def produces(node: Node, side: Callable, graph: DependencyGraph) -> bool:
    """Whether these are the output channels of a convolution or linear layer."""
    weighted = node.type in (OPTYPE.CONV, OPTYPE.DEPTHWISE_CONV, OPTYPE.LINEAR)
    return weighted and is_output_side(node, side, graph)


def is_output_side(node: Node, side: Callable, graph: DependencyGraph) -> bool:
    """Whether these are the channels that the node gives, not (or not only) those that it takes."""
    return side == graph.get_pruner_of_module(node.module).prune_out_channels
