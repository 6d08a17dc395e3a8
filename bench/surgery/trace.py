"""Finds a network's channel groups.

Each layer's output channels are followed through torch-pruning's dependency graph (`bench.surgery.graph`), which
gives the exact entries that they own in every tensor. What the graph cannot know (code in `forward` that depends
on widths, operations across channels) shows in a rehearsal: on a copy with random weights, removal must equal
the mask (`bench.surgery.rehearsal`). A group that fails is left out, with the reason.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch_pruning.dependency import DependencyGraph
from torch_pruning.dependency.node import Node
from torch_pruning.ops import OPTYPE

from bench.errors import NotPrunable, unknown_name
from bench.measure.macs import count_macs
from bench.surgery.cost import build_cost
from bench.surgery.graph import Reached, follow, is_output_side, produces, trace
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
    graph, outputs = trace(network, shape)
    names = {module: name for name, module in network.named_modules()}
    shared = _shared_tensors(network)
    found: list[ChannelGroup] = []
    left_out: list[LeftOut] = []
    done: set[str] = set()
    taken: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in layers:
        layer = network.get_submodule(name)
        if name in done or layer not in graph.module2node or not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        reached = follow(graph, layer)
        produced = {names[node.module] for node, channels in reached.owners if produces(node, channels, graph)}
        producers = tuple(producer for producer in layers if producer in produced)
        done.update(producers)
        leaves = any(node in outputs and is_output_side(node, channels, graph) for node, channels in reached.owners)
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


def _is_wanted(producers: Sequence[str], network: nn.Module, prunable: Sequence[str] | None) -> bool:
    if prunable is None:
        return isinstance(network.get_submodule(producers[0]), nn.Conv2d)
    return any(fnmatchcase(producer, pattern) for producer in producers for pattern in prunable)


def _slices(graph: DependencyGraph, reached: Reached, names: dict[nn.Module, str], width: int) -> tuple[Slice, ...]:
    if reached.tangled:
        raise _Refused("some of its channels are tied to others of its own")
    slices = []
    for (node, channels), owners in reached.owners.items():
        counts = Counter(owners.values())
        if set(counts) != set(range(width)) or len(set(counts.values())) != 1:
            where = names.get(node.module, node.type.name.lower())
            raise _Refused(f"its channels own unequal parts of {where}")
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
    attributes: tuple[str, ...]
    if is_conv and module.groups == module.in_channels == module.out_channels:
        attributes, dim = ("weight", "bias"), 0
    elif (is_conv and module.groups == 1) or isinstance(module, nn.Linear):
        given = produces(node, channels, graph)
        attributes, dim = (("weight", "bias"), 0) if given else (("weight",), 1)
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
