"""The network that a record's widths describe, built afresh with any weights, and its sizes: what they must be."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from bench.errors import UsageError
from bench.measure.macs import count_macs
from bench.measure.memory import peak_bytes
from bench.measure.network import layers_of
from bench.measure.size import measure_size
from bench.networks.base import Network, NetworkSpec
from bench.networks.registry import network as network_plugin
from bench.records.record import Layer
from bench.specs.target import Target
from bench.surgery import Surgery

__all__ = ["Built", "Design", "Group", "groups_of", "rebuild"]


_MOST_PARAMS = 400_000_000


@dataclass(frozen=True)
class Design:
    """A dense network.

    Attributes:
        network: the plugin's name, or where one's own is.
        settings: of its constructor, as JSON.
        root: the folder that the path of one's own begins in.
        shape: of an image, (C, H, W).
        classes: number of labels.
        prunable: patterns of what may be pruned; None for the network's own choice.
    """

    network: str
    settings: str
    root: Path | None
    shape: tuple[int, int, int]
    classes: int
    prunable: tuple[str, ...] | None

    @property
    def plugin(self) -> Network:
        """Makes it.

        Raises:
            UsageError: there is no such network.
        """
        return network_plugin(self.network, json.loads(self.settings), self.root)


@dataclass(frozen=True)
class Group:
    """A channel group: the layers whose output channels stand or fall together, and how many channels it has."""

    layers: tuple[str, ...]
    width: int


@dataclass(frozen=True)
class Built:
    """Sizes of a network, from its architecture alone; as in `bench.records.record.Measured`.

    Attributes:
        layers: with `nonzero` of fresh weights, which says nothing.
        weights_by_layer: number of weights, biases left out.
    """

    macs: int
    macs_convolutions: int
    params: int
    weights: int
    bytes: int
    layers: tuple[Layer, ...]
    weights_by_layer: dict[str, int]
    peak_bytes: int


@lru_cache(maxsize=64)
def groups_of(design: Design) -> tuple[Group, ...]:
    """The channel groups of the dense network.

    Raises:
        NotPrunable: it offers none.
    """
    return tuple(Group(group.layers, group.width) for group in _surgery(_dense(design), design).groups)


@lru_cache(maxsize=512)
def rebuild(design: Design, widths: tuple[int, ...] | None, batch: int) -> Built:
    """The network with these widths.

    Args:
        design: the dense network.
        widths: of each group, in the order of `groups_of`; None for the dense network.
        batch: for the peak memory.

    Raises:
        UsageError: the network or the data set is not installed.
        SurgeryError: the widths do not fit.
    """
    dense, network = _dense(design), _dense(design)
    if widths is not None:
        surgery = _surgery(network, design)
        keep = {group.name: torch.arange(width) for group, width in zip(surgery.groups, widths, strict=True)}
        surgery.remove_unproven(keep)
    network.eval()
    shape = design.shape
    count, size = count_macs(network, shape), measure_size(network)
    modules = dict(network.named_modules())
    layers = layers_of(dense, network, shape)
    return Built(
        macs=count.total,
        macs_convolutions=sum(
            macs for name, macs in count.by_layer.items() if isinstance(modules[name], nn.modules.conv._ConvNd)
        ),
        params=size.params,
        weights=size.weights,
        bytes=size.bytes,
        layers=layers,
        weights_by_layer={layer.name: int(modules[layer.name].weight.numel()) for layer in layers},
        peak_bytes=peak_bytes(network, shape, batch),
    )


def _dense(design: Design) -> nn.Module:
    spec, plugin = NetworkSpec.of(design.shape, design.classes), design.plugin
    try:
        with torch.device("meta"):
            params = sum(each.numel() for each in plugin.construct(spec).parameters())
    except Exception:  # a network that reads its own weights while it is built; its size is seen when it is there
        params = 0
    if params > _MOST_PARAMS:
        raise UsageError(f"network {design.network!r} has {params:,} parameters: too many to be built for a check.")
    with torch.random.fork_rng(devices=[]):
        built = plugin.construct(spec)
    return built.to(memory_format=torch.channels_last).eval()


def _surgery(network: nn.Module, design: Design) -> Surgery:
    prunable = design.prunable or design.plugin.prunable
    return Surgery(network, design.shape, prunable, 1, 1, Target("none"), torch.zeros(1, *design.shape))
