"""Finds a network's channel groups, with torch-pruning's dependency graph.

Only the graph's tracing is used, never its pruners. From each layer the channels are followed through the graph
together with the channel that they started from, so that concatenations, flattening and residual adds give the
exact entries of every tensor. What the graph cannot know (code in `forward` that depends on widths, operations
across channels) shows in a rehearsal: on a copy with random weights, removal must equal the mask. A group that
fails is left out, with the reason.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency import DependencyGraph
from torch_pruning.dependency.node import Node
from torch_pruning.ops import OPTYPE

from bench.errors import NotPrunable, unknown_name
from bench.measure.macs import count_macs
from bench.surgery.cost import build_cost
from bench.surgery.groups import ChannelGroup, Groups, LeftOut, Slice, with_savings
from bench.surgery.proof import bare_copy
from bench.surgery.rehearsal import randomise, rehearse

__all__ = ["trace_groups"]

_NO_TENSORS = (OPTYPE.CONCAT, OPTYPE.ELEMENTWISE, OPTYPE.RESHAPE, OPTYPE.SLICE)
_UNSUPPORTED = {
    OPTYPE.SPLIT: "its channels are split inside forward",
    OPTYPE.UNBIND: "its channels are split inside forward",
    OPTYPE.EXPAND: "its channels are expanded inside forward",
}
_BATCHNORM = ("weight", "bias", "running_mean", "running_var")

_Reached = dict[tuple[Node, Callable], set[tuple[int, int]]]
"""(node, which of its channels) -> pairs of an entry and the channel that owns it."""


class _Refused(Exception):
    """Why a group cannot be offered."""


def trace_groups(network: nn.Module, shape: tuple[int, int, int], prunable: Sequence[str] | None = None) -> Groups:
    """The channel groups of a network, as it is now. The network is not touched, nor is any generator.

    Args:
        network: the network, on any device, in any mode.
        shape: one input's shape, (C, H, W).
        prunable: patterns (as in a shell) of layer names; a group is offered if one of its producer layers
            matches. None offers every group whose first producer is a convolution.

    Raises:
        NotPrunable: no group is left.
        UsageError: a pattern matches no convolution or linear layer.
    """
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for pattern in prunable or ():
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise unknown_name("prunable layer", pattern, layers)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        copy = bare_copy(network)
        macs = count_macs(copy, shape)
        copy = randomise(copy.cpu().double())
        found, left_out = _find_groups(copy, shape, layers, prunable)
        offered, failed = rehearse(copy, shape, found)
    left_out = [*left_out, *failed]
    if not offered:
        reasons = "; ".join(f"{out.name}: {out.reason}" for out in left_out) or "no convolution feeds another layer"
        raise NotPrunable(
            f"no channel group can be offered. {reasons}. Choose another network, name other layers in the "
            f"track's prunable layers, or use an unstructured method."
        )
    live = [_owned_by(network, group) for group in offered]
    cost = build_cost(network, live, macs.total, macs.by_layer)
    return Groups(with_savings(live, cost), tuple(left_out), cost)


def _owned_by(network: nn.Module, group: ChannelGroup) -> ChannelGroup:
    return ChannelGroup(group.name, group.width, group.layers, 0, 0, group.slices, network)


def _find_groups(
    network: nn.Module, shape: tuple[int, int, int], layers: Sequence[str], prunable: Sequence[str] | None
) -> tuple[list[ChannelGroup], list[LeftOut]]:
    graph, outputs = _trace(network, shape)
    names = {module: name for name, module in network.named_modules()}
    shared = _shared_tensors(network)
    found: list[ChannelGroup] = []
    left_out: list[LeftOut] = []
    done: set[str] = set()
    taken: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in layers:
        layer = network.get_submodule(name)
        if name in done or layer not in graph.module2node:
            continue
        reached = _follow(graph, layer)
        produced = {names[node.module] for node, channels in reached if _produces(node, channels, graph)}
        producers = tuple(producer for producer in layers if producer in produced)
        done.update(producers)
        leaves = any(node in outputs and _is_output_side(node, channels, graph) for node, channels in reached)
        if leaves or not _is_wanted(producers, network, prunable):
            continue
        try:
            slices = _slices(graph, reached, names, len(layer.weight))
            for owned in slices:
                if owned.tensor in shared:
                    raise _Refused(f"{owned.tensor} is shared between layers")
                entries = set(owned.index.flatten().tolist())
                if entries & taken[owned.tensor, owned.dim]:
                    raise _Refused(f"its channels in {owned.tensor} belong to another group as well")
            for owned in slices:
                taken[owned.tensor, owned.dim].update(owned.index.flatten().tolist())
            found.append(ChannelGroup(producers[0], len(layer.weight), producers, 0, 0, slices, network))
        except _Refused as refused:
            left_out.append(LeftOut(producers[0], str(refused)))
    return found, left_out


def _trace(network: nn.Module, shape: tuple[int, int, int]) -> tuple[DependencyGraph, set[Node]]:
    """The dependency graph, and the nodes that are the network's outputs."""
    ends = []

    def keep_ends(outputs: object) -> object:
        listed = outputs if isinstance(outputs, tuple | list) else [outputs]
        ends.extend(output.grad_fn for output in listed if isinstance(output, Tensor))
        return outputs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = DependencyGraph().build_dependency(
            network.requires_grad_(True),
            torch.ones(1, *shape).double(),
            output_transform=keep_ends,
            verbose=False,
        )
    nodes = graph.module2node.values()
    return graph, {node for node in nodes if node.type == OPTYPE.OUTPUT or node.grad_fn in ends}


def _follow(graph: DependencyGraph, layer: nn.Module) -> _Reached:
    """Everything that the output channels of `layer` reach, with the channel that each entry stems from."""
    channels = graph.get_pruner_of_module(layer).prune_out_channels
    start = {_HybridIndex(idx=c, root_idx=c) for c in range(len(layer.weight))}
    reached: dict = defaultdict(set)
    reached[graph.module2node[layer], channels] = set(start)
    stack = [(graph.module2node[layer], channels, start)]
    while stack:
        node, channels, entries = stack.pop()
        for edge in node.dependencies:
            if not edge.is_triggered_by(channels):
                continue
            mapped = list(entries)
            for mapping in edge.index_mapping:
                mapped = mapping(mapped) if mapping is not None else mapped
            fresh = set(mapped) - reached[edge.target, edge.handler]
            if fresh:
                reached[edge.target, edge.handler] |= fresh
                stack.append((edge.target, edge.handler, fresh))
    return {key: {(entry.idx, entry.root_idx) for entry in entries} for key, entries in reached.items() if entries}


def _produces(node: Node, channels: Callable, graph: DependencyGraph) -> bool:
    weighted = node.type in (OPTYPE.CONV, OPTYPE.DEPTHWISE_CONV, OPTYPE.LINEAR)
    return weighted and _is_output_side(node, channels, graph)


def _is_output_side(node: Node, channels: Callable, graph: DependencyGraph) -> bool:
    """Whether these are the channels that the node gives, not (or not only) those that it takes."""
    return channels == graph.get_pruner_of_module(node.module).prune_out_channels


def _is_wanted(producers: Sequence[str], network: nn.Module, prunable: Sequence[str] | None) -> bool:
    if prunable is None:
        return isinstance(network.get_submodule(producers[0]), nn.Conv2d)
    return any(fnmatchcase(producer, pattern) for producer in producers for pattern in prunable)


def _slices(graph: DependencyGraph, reached: _Reached, names: dict[nn.Module, str], width: int) -> tuple[Slice, ...]:
    slices = []
    for (node, channels), pairs in reached.items():
        owners = dict(pairs)
        counts = Counter(owners.values())
        if len(owners) != len(pairs):
            raise _Refused("some of its channels are added to others of its own")
        if set(counts) != set(range(width)) or len(set(counts.values())) != 1:
            raise _Refused(f"its channels own unequal parts of {names.get(node.module, node.type.name.lower())}")
        entries = sorted((channel, entry) for entry, channel in owners.items())
        index = torch.tensor([entry for _, entry in entries]).view(width, -1)
        for tensor, dim, size in _owned_tensors(node, channels, graph, names):
            slices.append(Slice(tensor, dim, index, size))
    return tuple(slices)


def _owned_tensors(
    node: Node, channels: Callable, graph: DependencyGraph, names: dict[nn.Module, str]
) -> Iterator[tuple[str, int, int]]:
    """The tensors that the channels of one node own a part of, with the dimension and its length."""
    module = node.module
    if node.type in _NO_TENSORS:
        return
    if node.type in _UNSUPPORTED:
        raise _Refused(_UNSUPPORTED[node.type])
    name = names.get(module, node.name)
    if node.type == OPTYPE.PARAMETER:
        raise _Refused(f"it goes through the parameter {graph._param_to_name[module]}")
    is_conv = isinstance(module, nn.Conv2d)
    if is_conv and module.groups == module.in_channels == module.out_channels:
        attributes, dim = ("weight", "bias"), 0
    elif (is_conv and module.groups == 1) or isinstance(module, nn.Linear):
        produces = _produces(node, channels, graph)
        attributes, dim = (("weight", "bias"), 0) if produces else (("weight",), 1)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        attributes, dim = _BATCHNORM, 0
    elif isinstance(module, nn.PReLU):
        attributes, dim = ("weight",) if module.num_parameters > 1 else (), 0
    elif is_conv:
        raise _Refused(f"it goes through the grouped convolution {name}")
    else:
        raise _Refused(f"it goes through the {type(module).__name__} {name}")
    for attribute in attributes:
        tensor = getattr(module, attribute, None)
        if tensor is not None:
            yield f"{name}.{attribute}" if name else attribute, dim, tensor.shape[dim]


def _shared_tensors(network: nn.Module) -> set[str]:
    """Names of parameters that are one and the same under several names."""
    owners = defaultdict(list)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        owners[id(parameter)].append(name)
    return {name for names in owners.values() if len(names) > 1 for name in names}
