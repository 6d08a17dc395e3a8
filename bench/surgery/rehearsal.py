"""Tries removals on a throw-away copy: does removing equal masking, for random channels of every group?

Tracing follows labels, not values. A rehearsal finds the groups for which that is not enough: a mean over
channels, a width written into `forward`. It runs in evaluation and in training mode, with the network's own hooks.
"""

import copy
import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bench.errors import NotPrunable, SurgeryError
from bench.surgery.cost import Cost
from bench.surgery.graph import Tracer, no_dropout, plain_kernels
from bench.surgery.groups import ChannelGroup, Groups, SkippedGroup
from bench.surgery.keep import Keep
from bench.surgery.mask import mask_copy
from bench.surgery.proof import is_harness_hook
from bench.surgery.remove import SlicePlan, plan_removal, resize_network

__all__ = ["Rehearsal", "random_copy", "removed", "steady"]

_SEED = 20_260_101
_BLOCK = 262_139  # prime, so that no row of a weight is another's repetition
_OTHER_FLOATS = (torch.float64, torch.float16, torch.bfloat16)
_SAME, _SAME_DOUBLE = 1e-4, 1e-7  # of the outputs' spread, in float32; where that is not enough, in float64


def random_copy(network: nn.Module) -> nn.Module:
    """A copy on the CPU in float32 with random values of ordinary size: nothing is zero, so no error hides.

    The network's own forward hooks stay: what they do is part of what it computes.

    Raises:
        NotPrunable: it cannot be copied.
    """
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(_blank(parameter), requires_grad=False)
    for buffer in network.buffers():
        memo[id(buffer)] = buffer.detach().clone()
    for module in network.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
            elif type(value) in (dict, OrderedDict, set) and not value:  # most of them, and deepcopy is slow
                memo[id(value)] = type(value)()
    try:
        duplicate = copy.deepcopy(network, memo)
        if any(each.device.type != "cpu" or each.dtype in _OTHER_FLOATS for each in duplicate.buffers()):
            duplicate = duplicate.cpu().float()
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


def _blank(parameter: Tensor) -> Tensor:
    """A tensor of its shape on the CPU; whole numbers are kept, as nothing random can take their place."""
    if parameter.is_complex():
        return torch.empty(parameter.shape, dtype=torch.complex64)
    if parameter.is_floating_point():
        return torch.empty(parameter.shape, dtype=torch.float32)
    return parameter.detach().cpu().clone()


def _randomise(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(_BLOCK, generator=generator)
    uniform = torch.rand(_BLOCK, generator=generator)

    def fill(tensor: Tensor, source: Tensor, scale: float, shift: float) -> None:
        start = int(torch.randint(_BLOCK, (1,), generator=generator))
        flat, place = tensor.view(-1), 0
        while place < len(flat):
            piece = source[start : start + len(flat) - place]
            filled = torch.mul(piece, scale, out=flat[place : place + len(piece)])
            if shift:
                filled.add_(shift)
            place, start = place + len(piece), 0

    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.is_complex():
                fill(torch.view_as_real(tensor), normal, math.sqrt(1 / max(1, tensor[0].numel())), 0)
            elif not tensor.is_floating_point():
                continue
            elif tensor.dim() > 1:
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
        tracer: which has followed it in evaluation mode.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int], tracer: Tracer) -> None:
        self.network = network
        self._tracer = tracer
        self._trains = True
        self._runs = 0
        self._masked: tuple[list[str], list[list[Tensor]]] | None = None
        generator = torch.Generator().manual_seed(_SEED)
        self._inputs = torch.randn(3, *shape, generator=generator)

    def sees_training(self, groups: Sequence[ChannelGroup]) -> bool:
        """Whether training mode executes what the tracer saw in evaluation mode, dropout aside.

        It shows in a run that the rehearsal of these groups needs anyway. If it does not, or is not known because
        there are no groups, the tracer has followed training mode when this returns, where the network runs in it.
        """
        try:
            with restored(self.network):
                mask_copy(self.network, *_chosen(groups))
                trained = self._outputs(training=True, watched=self._tracer.watching())
                if self._tracer.alike:
                    self._masked = [group.name for group in groups], [self._outputs(training=False), trained]
                    return True
        except Exception:  # it may not run in training mode at this size
            pass
        try:
            self._tracer.run(self._inputs[:2].clone(), training=True)
        except Exception:  # it cannot be trained at this size, so that nothing is lost
            self._trains = False
        return False

    def separate(
        self, groups: Sequence[ChannelGroup], doubtful: Collection[str] = ()
    ) -> tuple[list[ChannelGroup], list[SkippedGroup]]:
        """Separates the groups whose removal equals their mask from those where it does not.

        All are tried at once; where that fails, those without a doubt, and then halves of what is left.

        Args:
            groups: what was found.
            doubtful: names of groups that are the first to be looked at where something fails.

        Raises:
            NotPrunable: the network gives two answers for one image.
        """
        try:
            if groups and self.failure(groups) is None:
                return list(groups), []
            self._refuse_two_answers()
            return self._separated(groups, doubtful)
        finally:
            self.network.eval()

    def _separated(
        self, groups: Sequence[ChannelGroup], doubtful: Collection[str]
    ) -> tuple[list[ChannelGroup], list[SkippedGroup]]:
        """As `separate`, where all at once have failed."""
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
            if share > same and not (training and not self._repeats(training=True)):
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
        groups, keep = _chosen(chosen)
        modes = (False, True) if self._trains else (False,)
        known, self._masked = self._masked, None
        with removed(self.network, plan_removal(self.network, groups, keep)):  # first, as it may not even run
            given = [self._outputs(training) for training in modes]
        if known is not None and known[0] == [group.name for group in chosen]:
            expected = known[1]
        else:
            with restored(self.network):
                mask_copy(self.network, groups, keep)
                expected = [self._outputs(training) for training in modes]
        return [difference(*each) for each in zip(expected, given, strict=True)]

    def _outputs(self, training: bool, watched: AbstractContextManager[None] | None = None) -> list[Tensor]:
        if self.network.training != training:
            self.network.train(training)
        inputs = self._inputs[: self._images() if training else 1].clone()
        statistics = [(buffer, buffer.clone()) for buffer in self.network.buffers()] if training else []
        self._runs += 1
        try:
            with ExitStack() as stack:
                stack.enter_context(torch.no_grad())
                stack.enter_context(plain_kernels())
                stack.enter_context(torch.random.fork_rng(devices=[]))
                torch.manual_seed(_SEED if training else _SEED + self._runs)  # chance in evaluation mode has to show
                if training:
                    stack.enter_context(no_dropout())
                if training and self._tracer.random:
                    stack.enter_context(steady())
                if watched is not None:
                    stack.enter_context(watched)
                outputs = self.network(inputs)
        finally:
            for buffer, before in statistics:
                buffer.copy_(before)
        return [each for each in pytree.tree_leaves(outputs) if isinstance(each, Tensor)]

    def _images(self) -> int:
        """How many to train with: over two values batch statistics tell signs only."""
        return 3 if self._tracer.values == 1 else 2

    def _repeats(self, training: bool) -> bool:
        """Whether a mode gives one answer, dropout in training aside."""
        return difference(self._outputs(training), self._outputs(training)) <= _SAME

    def _refuse_two_answers(self) -> None:
        with suppress(SurgeryError):  # not finite, which is another reason
            if not self._repeats(training=False):
                raise NotPrunable(
                    f"{type(self.network).__name__} gives two answers for one image in evaluation mode, so that "
                    f"removing channels cannot be compared with masking them. Make forward deterministic (dropout "
                    f"only where self.training)."
                )


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
    with restored(network):
        resize_network(network, plan)
        yield


@contextmanager
def restored(network: nn.Module) -> Iterator[None]:
    """On leaving, the network's modules hold the tensors and numbers that they held before."""
    before = [
        (module, dict(module.__dict__), dict(module._parameters), dict(module._buffers)) for module in network.modules()
    ]
    try:
        yield
    finally:
        for module, attributes, parameters, buffers in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)


def _chosen(groups: Sequence[ChannelGroup]) -> tuple[Groups, Keep]:
    """These groups, without their cost, and random channels of each, the same at every call."""
    generator = torch.Generator().manual_seed(_SEED)
    keep = {group.name: _random_channels(group.width, generator) for group in groups}
    return Groups(tuple(groups), (), Cost.of((), 0, [], 0, [])), keep


def _random_channels(width: int, generator: torch.Generator) -> Tensor:
    share = 0.3 + 0.5 * float(torch.rand(1, generator=generator))
    return torch.randperm(width, generator=generator)[: max(1, min(width - 1, round(share * width)))]
