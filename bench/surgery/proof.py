"""Whether two networks compute the same: the outputs, in eval mode and full precision, and how far apart."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import SurgeryError

__all__ = ["Difference", "bare_copy", "compare", "outputs_of"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Difference:
    """How far outputs b are from outputs a.

    Attributes:
        largest: max|a-b|.
        scale: max|a|.
    """

    largest: float
    scale: float

    def within(self, tolerance: float) -> bool:
        """Whether max|a-b| <= tolerance * max(1, max|a|)."""
        return self.largest <= tolerance * max(1.0, self.scale)


def bare_copy(network: nn.Module) -> nn.Module:
    """A deep copy without hooks, so that running it is seen by nobody, and without gradients."""
    stripped = [(module, key, getattr(module, key)) for module in network.modules() for key in _HOOKS]
    gradients = [(parameter, parameter.grad) for parameter in network.parameters()]
    try:
        for module, key, hooks in stripped:
            setattr(module, key, type(hooks)())
        for parameter, _ in gradients:
            parameter.grad = None
        return copy.deepcopy(network)
    finally:
        for module, key, hooks in stripped:
            setattr(module, key, hooks)
        for parameter, gradient in gradients:
            parameter.grad = gradient


def outputs_of(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """The network's outputs on `inputs`, in its parameters' own precision: no autocast, no TF32.

    Leaves the network in eval mode: call it on a copy.

    Raises:
        SurgeryError: the network returns something else than a tensor or a tuple or list of tensors.
    """
    parameter = next(network.parameters())
    inputs = inputs.to(parameter.device, parameter.dtype)
    with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False), _full_precision():
        outputs = network.eval()(inputs)
    listed = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    if not all(isinstance(output, Tensor) for output in listed):
        raise SurgeryError(
            f"the network returns {type(outputs).__name__}, whose equality is not proven. "
            f"Return a tensor, or a tuple or list of tensors."
        )
    return listed


def compare(before: list[Tensor], after: list[Tensor]) -> Difference:
    """How far `after` is from `before`.

    Raises:
        SurgeryError: an output is not finite, or shapes differ.
    """
    largest = scale = 0.0
    for a, b in zip(before, after, strict=True):
        if a.shape != b.shape:
            raise SurgeryError(f"outputs of shape {list(a.shape)} became {list(b.shape)}.")
        if not (a.isfinite().all() and b.isfinite().all()):
            raise SurgeryError(
                "the network's outputs are not finite (NaN or infinity), so nothing can be proven about them. "
                "The training diverged: lower the learning rate."
            )
        if a.numel():
            largest = max(largest, float((a - b).abs().max()))
            scale = max(scale, float(a.abs().max()))
    return Difference(largest, scale)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Matrix products and convolutions in IEEE float32, whatever the process has allowed."""
    backends: Any = torch.backends  # its stubs lack these
    settings = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision
