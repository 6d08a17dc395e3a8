"""A network of a user's own, as a plugin: `FILE.py:CLASS` or `package.module:function`, with its settings.

It is called as the user calls it, so its constructor decides what it is; that it takes the images and gives the classes
is tried at once. Weights are read in `bench.networks.weights`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec, reset, reset_modules
from bench.plugins.imported import imported, source_file

__all__ = ["OwnNetwork", "check_outputs"]


class OwnNetwork(Network):
    """The network that a class or a function of a user's own makes.

    Args:
        source: `FILE.py:CLASS` or `package.module:function`.
        settings: keyword arguments of it.
        root: the folder that paths begin in.

    Attributes:
        file: the source file; None for a module, which Python finds by its name.
    """

    prunable: ClassVar[tuple[str, ...] | None] = None
    summary = "a network of one's own"
    reference = "the user's own"
    input = NetworkSpec(3, 224, 1000)

    def __init__(self, source: str, settings: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        self.name, self.root = source, root
        self.settings = dict(settings or {})
        self.file = source_file(source, root)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        """What the user's class or function gives for its settings; tried on an image of `spec`.

        Raises:
            UsageError: it cannot be imported or called so, gives no module, or one that does not fit `spec`.
        """
        make = imported(self.name, self.root)
        if isinstance(make, nn.Module):
            raise UsageError(
                f"{self.name!r} is a network that is made already. Name its class, or a function giving it."
            )
        try:
            network = make(**self.settings)
        except Exception as error:  # the user's constructor may fail in any way
            given = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
            raise UsageError(
                f"{self.name.rpartition(':')[2]}({given}) raises {type(error).__name__}: {str(error)[:300]}. "
                "Give its settings with --set KEY=VALUE (`[network] settings` of a track file)."
            ) from error
        if not isinstance(network, nn.Module):
            raise UsageError(f"{self.name!r} gives a {type(network).__name__}, not a torch.nn.Module.")
        check_outputs(network, spec, self.name)
        return network.float()

    def initialise(self, network: nn.Module) -> None:
        """Every module resets itself, children first; what belongs to none is drawn by the constructor anew.

        A network with an initialisation of its own has it in a `reset_parameters()`, which is called last.

        Raises:
            UsageError: a parameter comes out of the constructor with the same values each time, so it would not begin
                anew: a trained network is loaded there, for instance. The network is as it was.
        """
        fixed = dict(_unreset(network))
        if fixed:
            first, second = self._made_twice()
            for name in fixed:
                one, two = first[name].detach(), second[name].detach()
                if torch.equal(one, two) and one.numel() > 1 and bool((one != one.flatten()[0]).any()):
                    raise UsageError(
                        f"{self.name}: {name} has the same values each time the network is made, so nothing can begin "
                        "anew. Give its module a reset_parameters() that draws fresh values."
                    )
        reset_modules(network)
        with torch.no_grad():
            for name, value in fixed.items():
                value.copy_(_part(first[name].detach(), value.shape))

    def _made_twice(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The parameters of two networks that the constructor makes, by name."""
        make = imported(self.name, self.root)
        first, second = (dict(make(**self.settings).named_parameters()) for _ in range(2))
        return first, second


def _unreset(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters that no module on the way to them resets."""
    found = []
    whole = any(hasattr(type(network), attribute) for attribute in ("reset_parameters", "_reset_parameters"))
    for prefix, module in network.named_modules():
        if module._parameters and not reset(module) and not whole:
            found += [
                (f"{prefix}.{name}" if prefix else name, value)
                for name, value in module._parameters.items()
                if value is not None
            ]
    return found


def _part(values: Tensor, shape: Sequence[int]) -> Tensor:
    """The first entries in each dimension: a pruned parameter is narrower than the one that a constructor makes."""
    return values[tuple(slice(side) for side in shape)]


def check_outputs(network: nn.Module, spec: NetworkSpec, name: str) -> None:
    """Tries a network on two images.

    Raises:
        UsageError: it does not take images of `spec`, or does not give an output a class.
    """
    height, width = spec.height, spec.width
    shown = f"{spec.channels}x{height}x{width}"
    training = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            parameter = next(network.parameters(), torch.empty(0))
            images = torch.randn(2, *spec.shape, device=parameter.device)
            outputs = network.eval()(images.to(parameter.dtype if parameter.is_floating_point() else torch.float32))
    except Exception as error:  # a user's forward may fail in any way
        raise UsageError(
            f"{name} does not take images of {shown} (channels x height x width): {type(error).__name__}: "
            f"{str(error)[:300]}. Give the size that it takes with --size HxW, or its settings with --set KEY=VALUE."
        ) from error
    finally:
        for module, mode in training.items():
            module.training = mode
    if not isinstance(outputs, Tensor):
        raise UsageError(
            f"{name} gives a {type(outputs).__name__}, not one tensor [N, classes]. Wrap it in a module that does."
        )
    if tuple(outputs.shape) != (2, spec.classes):
        raise UsageError(
            f"{name} gives outputs of shape {tuple(outputs.shape)} for 2 images, and there are {spec.classes} classes: "
            f"(2, {spec.classes}) is needed. Give its number of classes with --set KEY={spec.classes}, or the images "
            "that it was trained on."
        )
