"""Proves that a network without channels computes what it computes with them off: with its own weights and random ones.

Outputs are compared in eval mode and full precision, relative to how far they vary over the inputs: a difference that
is small beside a constant, as in probabilities or behind a large bias, may be all that the network says. Weights that
hide an error (a head of zeros, a residual branch that is scaled by nothing yet) are why random ones are tried as well.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bench.errors import SurgeryError

__all__ = ["TOLERANCE", "OutputDifference", "Proof", "bare_copy", "compare", "is_harness_hook", "outputs_of", "prove"]

TOLERANCE = 1e-4
"""Largest difference between masked and removed outputs, relative to their spread over the inputs."""

_RESOLUTION = {torch.float32: 1e-6, torch.float64: 1e-12}
"""A spread below this share of the outputs is rounding."""

_RANDOM_IMAGES = 2
_SEED = 20_260_101


@dataclass(frozen=True)
class OutputDifference:
    """How far outputs b are from outputs a; of several outputs, of the one where it is the largest share.

    Attributes:
        largest: max|a-b|.
        spread: the most that an entry of a varies over the inputs (over the entries, where there is one input).
        scale: max|a|.
        precision: in which they were computed, `float32` or `float64`.
    """

    largest: float
    spread: float
    scale: float
    precision: str = "float32"

    @property
    def carries(self) -> bool:
        """Whether the outputs say anything: whether they vary by more than rounding."""
        return self.spread > _RESOLUTION[getattr(torch, self.precision)] * self.scale

    def within(self, tolerance: float) -> bool:
        """Whether max|a-b| <= tolerance * spread; of outputs that carry nothing, whether only rounding differs."""
        rounding = _RESOLUTION[getattr(torch, self.precision)] * self.scale
        return self.largest <= (tolerance * self.spread if self.carries else rounding)

    def words(self) -> str:
        """The numbers in one sentence."""
        carried = "" if self.carries else ", the same for every input: this proves nothing"
        return (
            f"max|masked - removed| is {self.largest:.3g} in {self.precision} where outputs vary by {self.spread:.3g} "
            f"over the inputs{carried}"
        )


@dataclass(frozen=True)
class Proof:
    """What was found when channels were removed from copies of a network.

    Attributes:
        own: with the network's own weights, on all the inputs.
        random: with random weights of ordinary size, on two of them.
    """

    own: OutputDifference
    random: OutputDifference

    @property
    def largest(self) -> float:
        """max|masked - removed| with the network's own weights."""
        return self.own.largest

    @property
    def scale(self) -> float:
        """max|masked| with the network's own weights."""
        return self.own.scale

    def words(self) -> str:
        """Both findings, and what they do not show."""
        return f"own weights: {self.own.words()}; random weights: {self.random.words()}"


def prove(
    network: nn.Module,
    off: Callable[[nn.Module], AbstractContextManager[None]],
    resize: Callable[[nn.Module], None],
    inputs: Tensor,
) -> Proof:
    """Removes channels from copies of the network and holds their outputs against those with the channels off.

    Args:
        network: the network, which is not touched.
        off: a context in which a copy's channels are off.
        resize: removes them from a copy.
        inputs: [N, C, H, W], two or more: with one, what is the same for every input cannot be told.

    Raises:
        SurgeryError: the outputs differ, are not finite, or carry nothing with either weights; or a copy does not run.
    """
    own = _difference(lambda: bare_copy(network), off, resize, inputs, "its own")
    try:
        random = _difference(lambda: _randomise(bare_copy(network)), off, resize, inputs[:_RANDOM_IMAGES], "random")
    except _NotFinite:  # random weights may well make a deep network overflow, which says nothing about the removal
        random = OutputDifference(0.0, 0.0, 0.0, "float64")
    proof = Proof(own, random)
    if not (own.carries or random.carries):
        raise SurgeryError(
            f"nothing can be proven about the removal: {proof.words()}. The network is as before: check that its "
            "outputs depend on its inputs."
        )
    return proof


class _NotFinite(SurgeryError):
    """Outputs that are NaN or infinite."""


def _difference(
    make: Callable[[], nn.Module],
    off: Callable[[nn.Module], AbstractContextManager[None]],
    resize: Callable[[nn.Module], None],
    inputs: Tensor,
    weights: str,
) -> OutputDifference:
    """The difference in float32, or in float64 where float32 cannot tell."""
    for dtype in (torch.float32, torch.float64):
        trial = make().to(dtype)
        with off(trial):
            expected = outputs_of(trial, inputs)
        try:
            resize(trial)
            removed = outputs_of(trial, inputs)
        except RuntimeError as error:
            raise SurgeryError(
                f"the network does not run after the removal: {error}. It is as before: leave the group out of the "
                f"prunable layers."
            ) from error
        try:
            difference = compare(expected, removed)
        except _NotFinite:
            if dtype == torch.float64 or weights == "its own":
                raise
            continue
        if difference.carries and difference.within(TOLERANCE):
            return difference
    if not difference.within(TOLERANCE):
        raise SurgeryError(
            f"removing the channels changes the outputs: with {weights} weights {difference.words()}; allowed is "
            f"{TOLERANCE:g} of that. The network is as before: leave the group that does it out of the prunable layers."
        )
    return difference


def _randomise(network: nn.Module) -> nn.Module:
    """Gives every parameter random values of ordinary size, in place: none is zero, so that none hides an error."""
    generator = torch.Generator().manual_seed(_SEED)

    def fill(tensor: Tensor, values: Tensor) -> None:
        tensor.copy_(values.to(tensor.device, tensor.dtype))

    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.dim() > 1:
                scale = math.sqrt(2 / max(1, tensor[0].numel()))
                fill(tensor, scale * torch.randn(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                fill(tensor, 0.5 + torch.rand(tensor.shape, generator=generator))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                fill(buffer, 0.1 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                fill(buffer, 0.5 + torch.rand(buffer.shape, generator=generator))
    return network


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def bare_copy(network: nn.Module) -> nn.Module:
    """A deep copy without gradients and without the harness's hooks, so that running it is seen by nobody.

    Hooks that are the network's own stay: what they do is part of what it computes.
    """
    stripped = [(module, key, getattr(module, key)) for module in network.modules() for key in _HOOKS]
    gradients = [(parameter, parameter.grad) for parameter in network.parameters()]
    # What a hook computed in the last forward (weight normalisation's weight, say) has a history, and no copy.
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        for module, key, hooks in stripped:
            setattr(module, key, type(hooks)((id_, hook) for id_, hook in hooks.items() if not is_harness_hook(hook)))
        for parameter, _ in gradients:
            parameter.grad = None
        return copy.deepcopy(network, memo)
    finally:
        for module, key, hooks in stripped:
            setattr(module, key, hooks)
        for parameter, gradient in gradients:
            parameter.grad = gradient


def is_harness_hook(hook: Any) -> bool:
    """Whether a hook is the harness's or a method's, who watch the network; a network's file is neither."""
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return home.startswith(("bench.", "fvcore.")) and not home.startswith("bench.networks.")


def outputs_of(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """The network's outputs on `inputs`, in its parameters' own precision: no autocast, no TF32.

    Leaves the network in eval mode: call it on a copy.

    Raises:
        SurgeryError: the network returns no tensor of numbers with a fraction, in whatever container.
    """
    parameter = next(network.parameters())
    own = inputs.to(parameter.device, parameter.dtype, copy=True)  # a network may change its input
    with torch.no_grad(), torch.autocast(own.device.type, enabled=False), _full_precision():
        outputs = network.eval()(own)
    leaves = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
    numbers = [torch.view_as_real(leaf) if leaf.is_complex() else leaf for leaf in leaves]
    found = [each for each in numbers if each.is_floating_point()]
    if not found:
        raise SurgeryError(
            f"the network returns {type(outputs).__name__}, whose equality is not proven. "
            f"Return a floating-point tensor, or a tuple, list or dictionary with one."
        )
    return found


def compare(before: Sequence[Tensor], after: Sequence[Tensor]) -> OutputDifference:
    """How far `after` is from `before`.

    Raises:
        SurgeryError: an output is not finite, or shapes differ.
    """
    found = []
    for a, b in zip(before, after, strict=True):
        if a.shape != b.shape:
            raise SurgeryError(f"outputs of shape {list(a.shape)} became {list(b.shape)}.")
        if not (a.isfinite().all() and b.isfinite().all()):
            raise _NotFinite(
                "the network's outputs are not finite (NaN or infinity), so nothing can be proven about them. "
                "The training diverged: lower the learning rate."
            )
        if a.numel():
            entries = a.flatten(1) if a.dim() and len(a) > 1 else a.reshape(-1, 1)
            spread = float((entries.amax(0) - entries.amin(0)).max())
            name = str(a.dtype).removeprefix("torch.")
            found.append(OutputDifference(float((a - b).abs().max()), spread, float(a.abs().max()), name))
    if not found:
        return OutputDifference(0.0, 0.0, 0.0)
    # Outputs that carry nothing decide where there are no others, or where they differ.
    telling = [each for each in found if each.carries or not each.within(TOLERANCE)] or found
    return max(telling, key=lambda each: each.largest / each.spread if each.spread else math.inf)


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
