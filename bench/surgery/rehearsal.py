"""Tries removals on a throw-away copy: does removing equal masking, for random channels of every group?

Tracing follows labels, not values. A rehearsal finds the groups for which that is not enough: a mean over
channels, a width written into `forward`. It runs in evaluation and in training mode, with the network's own hooks.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bench.errors import NotPrunable, SurgeryError
from bench.surgery.graph import plain_kernels
from bench.surgery.groups import ChannelGroup, Groups, SkippedGroup, build_cost
from bench.surgery.mask import masked
from bench.surgery.proof import is_harness_hook
from bench.surgery.remove import SlicePlan, plan_removal, resize_network

__all__ = ["Rehearsal", "random_copy", "removed", "steady"]

_SEED = 20_260_101
_BLOCK = 262_139  # prime, so that no row of a weight is another's repetition
_SAME, _SAME_DOUBLE = 1e-4, 1e-7  # of the outputs' spread, in float32; where that is not enough, in float64
_BATCH = 3  # in training mode: over two values batch statistics tell signs only


def random_copy(network: nn.Module) -> nn.Module:
    """A copy on the CPU in float32 with random values of ordinary size: nothing is zero, so no error hides.

    The network's own forward hooks stay: what they do is part of what it computes.

    Raises:
        NotPrunable: it cannot be copied.
    """
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty(parameter.shape, dtype=torch.float32), requires_grad=False)
    for module in network.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        duplicate = copy.deepcopy(network, memo).cpu().float()
    except Exception as error:  # whatever a network's members raise when they are copied
        raise NotPrunable(
            f"{type(network).__name__} cannot be copied ({type(error).__name__}: {error}), and nothing is tried on "
            f"the network itself. Make its members ones that copy.deepcopy takes."
        ) from error
    for module in duplicate.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if is_harness_hook(hook)]:
                del hooks[key]
    _randomise(duplicate)
    return duplicate


def _randomise(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(_BLOCK, generator=generator)
    uniform = torch.rand(_BLOCK, generator=generator)

    def fill(tensor: Tensor, source: Tensor, scale: float, shift: float) -> None:
        start = int(torch.randint(_BLOCK, (1,), generator=generator))
        flat, place = tensor.view(-1), 0
        while place < len(flat):
            piece = source[start : start + len(flat) - place]
            torch.mul(piece, scale, out=flat[place : place + len(piece)]).add_(shift)
            place, start = place + len(piece), 0

    with torch.no_grad():
        for tensor in network.parameters():
            if not tensor.is_floating_point():
                continue
            if tensor.dim() > 1:
                fill(tensor, normal, math.sqrt(2 / max(1, tensor[0].numel())), 0)
            else:
                fill(tensor, uniform, 1, 0.5)
        for module in network.modules():
            for name, buffer in module._buffers.items():
                if buffer is None or not buffer.is_floating_point():
                    continue
                if name == "running_mean":
                    fill(buffer, normal, 0.1, 0)
                elif name == "running_var":
                    fill(buffer, uniform, 1, 0.5)
                elif buffer.numel() > 1 and bool((buffer == buffer.flatten()[0]).all()):
                    fill(buffer, uniform, 0.2, float(buffer.flatten()[0]) - 0.1)


class steady(TorchDispatchMode):
    """Dropout and stochastic depth keep everything, as at rate zero."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name
        if name == "aten::bernoulli_":
            return args[0].fill_(1)
        if name == "aten::bernoulli":
            return torch.ones_like(args[0])
        if name == "aten::native_dropout":
            return args[0], torch.ones_like(args[0], dtype=torch.bool)
        return func(*args, **(kwargs or {}))


class Rehearsal:
    """Removals tried on one copy, which comes back as it was after each.

    Args:
        network: a random copy.
        shape: one input's shape, (C, H, W).
        trains: whether it runs in training mode at all.
        drops: whether it has dropout or stochastic depth.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int], trains: bool, drops: bool) -> None:
        self.network = network
        self.trains = trains
        self._drops = drops
        generator = torch.Generator().manual_seed(_SEED)
        self._inputs = torch.randn(_BATCH, *shape, generator=generator)

    def separate(
        self, groups: Sequence[ChannelGroup], doubtful: Sequence[str] = ()
    ) -> tuple[list[ChannelGroup], list[SkippedGroup]]:
        """Separates the groups whose removal equals their mask from those where it does not.

        All are tried at once; where that fails, those without a doubt, and then halves of what is left.

        Args:
            groups: what was found.
            doubtful: names of groups that are the first to be looked at where something fails.
        """
        if not groups or self.failure(groups) is None:
            return list(groups), []
        sure = [group for group in groups if group.name not in doubtful]
        rest = [group for group in groups if group.name in doubtful]
        passed: list[ChannelGroup] = []
        failed: dict[str, str] = {}
        if sure and rest and self.failure(sure) is None:
            passed = sure
        else:
            rest = list(groups)
        self._halve(rest, passed, failed)
        return (
            [group for group in groups if group.name not in failed],
            [SkippedGroup(group.name, failed[group.name]) for group in groups if group.name in failed],
        )

    def _halve(self, groups: Sequence[ChannelGroup], passed: list[ChannelGroup], failed: dict[str, str]) -> None:
        """Adds to `passed` the groups that can go together with it."""
        if not groups:
            return
        reason = self.failure([*passed, *groups])
        if reason is None:
            passed.extend(groups)
        elif len(groups) == 1:
            failed[groups[0].name] = reason
        else:
            middle = len(groups) // 2
            self._halve(groups[:middle], passed, failed)
            self._halve(groups[middle:], passed, failed)

    def failure(self, chosen: Sequence[ChannelGroup]) -> str | None:
        """Why removing random channels of these groups differs from masking them; None if it does not."""
        try:
            shares, same = self._differences(chosen), _SAME
            if max(shares) > same:
                shares, same = self._in_double(chosen), _SAME_DOUBLE
        except SurgeryError as error:
            return str(error)
        except Exception as error:  # whatever the network's own code raises at other widths
            return f"forward fails at another width: {type(error).__name__}: {(str(error) or '-').splitlines()[0]}"
        for training, share in enumerate(shares):
            if share > same and not (training and not self._repeats()):
                mode = "in training mode, " if training else ""
                return (
                    f"{mode}removing channels is not the same as zeroing them (outputs differ by {share:.2g} of their "
                    f"spread)"
                )
        return None

    def _in_double(self, chosen: Sequence[ChannelGroup]) -> list[float]:
        single = self.network, self._inputs
        try:
            self.network = copy.deepcopy(self.network).double()
            self._inputs = self._inputs.double()
            return self._differences(chosen)
        finally:
            self.network, self._inputs = single

    def _differences(self, chosen: Sequence[ChannelGroup]) -> list[float]:
        """How far removed outputs are from masked ones, as a share of the masked ones' spread, by mode."""
        generator = torch.Generator().manual_seed(_SEED)
        groups = Groups(tuple(chosen), (), build_cost(self.network, chosen, (), 0))
        keep = {group.name: _random_channels(group.width, generator) for group in groups}
        modes = (False, True) if self.trains else (False,)
        with removed(self.network, plan_removal(self.network, groups, keep)):  # first, as it may not even run
            given = [self._outputs(training) for training in modes]
        with masked(self.network, groups, keep):
            return [difference(self._outputs(mode), each) for each, mode in zip(given, modes, strict=True)]

    def _outputs(self, training: bool) -> list[Tensor]:
        self.network.train(training)
        inputs = self._inputs.clone() if training else self._inputs[:1].clone()
        statistics = {name: buffer.clone() for name, buffer in self.network.named_buffers()} if training else {}
        try:
            with torch.no_grad(), plain_kernels(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(_SEED)
                if training and self._drops:
                    with steady():
                        outputs = self.network(inputs)
                else:
                    outputs = self.network(inputs)
        finally:
            self.network.eval()
            for name, buffer in self.network.named_buffers() if training else ():
                if buffer.shape == statistics[name].shape:
                    buffer.copy_(statistics[name])
        return [each for each in pytree.tree_leaves(outputs) if isinstance(each, Tensor)]

    def _repeats(self) -> bool:
        """Whether training mode gives one answer, dropout aside."""
        return difference(self._outputs(True), self._outputs(True)) <= _SAME


def difference(expected: Sequence[Tensor], given: Sequence[Tensor]) -> float:
    """The largest difference of two lists of outputs, as a share of the first ones' spread.

    Raises:
        SurgeryError: shapes differ, or something is not finite.
    """
    largest = 0.0
    for a, b in zip(expected, given, strict=True):
        if a.shape != b.shape:
            raise SurgeryError(f"outputs of shape {list(a.shape)} became {list(b.shape)}")
        if not a.numel() or not a.is_floating_point():
            continue
        if not (a.isfinite().all() and b.isfinite().all()):
            raise SurgeryError("outputs are not finite when channels are off or gone")
        spread = float(a.max() - a.min()) or float(a.abs().max()) or 1.0
        largest = max(largest, float((a - b).abs().max()) / spread)
    return largest


@contextmanager
def removed(network: nn.Module, plan: SlicePlan) -> Iterator[None]:
    """The network with a plan carried out; as before on leaving."""
    before = [
        (module, dict(module.__dict__), dict(module._parameters), dict(module._buffers)) for module in network.modules()
    ]
    try:
        resize_network(network, plan)
        yield
    finally:
        for module, attributes, parameters, buffers in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)


def _random_channels(width: int, generator: torch.Generator) -> Tensor:
    share = 0.3 + 0.5 * float(torch.rand(1, generator=generator))
    return torch.randperm(width, generator=generator)[: max(1, min(width - 1, round(share * width)))]
