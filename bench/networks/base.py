"""What a network is to the harness: a name, the input it is known for, and how to make and re-make it.

A network plugin is one class in one file of this folder (or behind an entry point of the group
`bench.networks`). It must set `name`, `summary`, `reference` and `input` and write `construct`; it may set
`prunable` and override `initialise`. Training, pruning and counting are elsewhere.
"""

import abc
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from bench.errors import UsageError

__all__ = ["Network", "NetworkSpec", "he_normal"]


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is built for: inputs `[N, channels, height, width]` and outputs `[N, classes]`.

    Attributes:
        channels: 1 for grey images, 3 for colour.
        size: pixels; one number for square images, else `(height, width)`.
        classes: number of labels.

    Raises:
        UsageError: a number is below 1.
    """

    channels: int
    size: int | tuple[int, int]
    classes: int

    def __post_init__(self) -> None:
        if self.height == self.width:
            object.__setattr__(self, "size", self.height)
        for field in ("channels", "height", "width", "classes"):
            if getattr(self, field) < 1:
                raise UsageError(f"a network's {field} must be 1 or more, not {getattr(self, field)}.")

    @classmethod
    def of(cls, shape: Sequence[int], classes: int) -> "NetworkSpec":
        """For inputs of `shape`, (channels, height, width).

        Raises:
            ValueError: these are not three numbers.
        """
        channels, height, width = (int(side) for side in shape)
        return cls(channels, (height, width), classes)

    @property
    def height(self) -> int:
        """Rows of an image, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Columns of an image, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input, `(channels, height, width)`."""
        return self.channels, self.height, self.width


class Network(abc.ABC):
    """One named network. Its weights come from torch's global generator and from nothing else.

    Attributes:
        name: what the user types.
        summary: one line for `bench list networks`.
        reference: the paper or code that the form follows.
        prunable: `fnmatch` patterns of the layers whose outputs may be pruned; None: every convolution.
        input: the input and the classes that the network is known for.
        weights: file that `build` takes its weights from, where it does: its content is part of what a run is. Weights
            that a track gives are the track's.
    """

    name: str
    summary: str
    reference: str
    input: NetworkSpec
    prunable: ClassVar[tuple[str, ...] | None] = None
    weights: Path | None = None

    @abc.abstractmethod
    def construct(self, spec: NetworkSpec) -> nn.Module:
        """The network's modules for `spec`, with any weights; on the CPU, in train mode.

        Raises:
            UsageError: the network cannot take this input.
        """

    def initialise(self, network: nn.Module) -> None:
        """Set all parameters and statistics in place to fresh values, at the network's present widths.

        `network` is one that `build` made, pruned since or not. By default every module resets itself.

        Raises:
            UsageError: a parameter belongs to a module that has no `reset_parameters`. Nothing was changed.
        """
        left = [name for name, module in network.named_modules() if module._parameters and not reset(module)]
        if left:
            raise UsageError(
                f"{self.name}: no reset_parameters() in {', '.join(left)}. Override initialise() to set them."
            )
        reset_modules(network)

    def build(self, spec: NetworkSpec) -> nn.Module:
        """A fresh network for `spec`: the same weights as `initialise` gives from the same seed.

        Raises:
            UsageError: the network cannot take this input.
        """
        with torch.random.fork_rng(devices=[]):
            network = self.construct(spec)
        self.initialise(network)
        return network

    def may_prune(self, layer: str, module: nn.Module) -> bool:
        """Whether the outputs of `module`, which is called `layer` in the network, may be pruned."""
        if self.prunable is None:
            return isinstance(module, nn.modules.conv._ConvNd)
        return any(fnmatch.fnmatchcase(layer, pattern) for pattern in self.prunable)


def reset(module: nn.Module) -> object:
    """The module's own way to reset itself, if any (`nn.MultiheadAttention`'s has an underscore)."""
    return getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)


def reset_modules(network: nn.Module) -> None:
    """Call `reset_parameters` of every module that has it, children before their parents."""
    for module in reversed(list(network.modules())):
        anew = reset(module)
        if callable(anew):
            anew()


def he_normal(network: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 2 / fan_in) (He et al. 2015, eq. 10)."""
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
