"""Running a network under PyTorch's tracer so that it is left as it was, and saying where it failed if it does.

The counting itself is `bench.measure.macs`'s.
"""

import linecache
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import Any
from unittest.mock import patch

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from bench.errors import BenchError, UncountedOperator, UsageError
from bench.measure.operators import Handler, how_to_register
from bench.measure.traced_values import module_of, parametrised_weight

__all__ = ["failure", "named", "nothing_lost", "traceable"]


@contextmanager
def traceable(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Within it a trace shows what an inference computes; on leaving, nothing is other than before.

    Compiled and checkpointed modules run as they were written, and fused kernels that hide their products are off.
    Hooks, generators and logs are put back.
    """
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    fast = torch.backends.mha.get_fastpath_enabled()
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in network.modules()]
    known = [(set(after), set(before)) for after, before in hooks]
    devices = [device] if device.type == "cuda" else []
    logger.setLevel(logging.ERROR)
    # The fused kernel of nn.MultiheadAttention and nn.TransformerEncoderLayer hides their matrix products.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.random.fork_rng(devices=devices),
            torch.autocast(device.type, enabled=False),
            _as_written(network),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logger.setLevel(level)
        for dicts, keys in zip(hooks, known, strict=True):  # fvcore leaves its hooks when a forward fails
            for registered, keep in zip(dicts, keys, strict=True):
                for key in set(registered) - keep:
                    del registered[key]


@contextmanager
def _as_written(network: nn.Module) -> Iterator[None]:
    """Neither compiled nor recomputed nor checked: at inference all compute what the code says."""

    def call(function: Callable[..., Any], _preserve: bool, *arguments: Any) -> Any:
        return function(*arguments)

    with ExitStack() as stack:
        stack.enter_context(patch.object(torch.utils.checkpoint.CheckpointFunction, "apply", call))
        # Sizes are tensors in a trace, which torch's own assertions (of max_unpool2d, say) refuse.
        stack.enter_context(patch.object(torch, "_check_with", lambda *_: None))
        for module in network.modules():
            if "_orig_mod" in module._modules:  # torch.compile(module)
                stack.enter_context(patch.object(module, "forward", module.get_submodule("_orig_mod").__call__))
            if module._compiled_call_impl is not None:  # module.compile()
                stack.enter_context(patch.object(module, "_compiled_call_impl", None))
        yield


@contextmanager
def nothing_lost(network: nn.Module) -> Iterator[None]:
    """Within it the tracer sees every module's outputs leave, in whatever container or object the network returns them.

    It forgets what does not reach an output, such as what decides whether to go on; the network computes it all the
    same.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        kept.extend(_tensors(output))

    def give(_module: nn.Module, _inputs: Any, output: Any) -> tuple[Tensor, ...]:
        return (*kept, *_tensors(output))

    handles = [register_module_forward_hook(keep), network.register_forward_hook(give)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: Any, depth: int = 4) -> list[Tensor]:
    """The tensors in containers, dataclasses and plain objects."""
    if isinstance(output, Tensor):
        # What torch.vmap works on must not leave it.
        return [] if torch._C._functorch.is_functorch_wrapped_tensor(output) else [output]
    if isinstance(output, Mapping):
        inside = list(output.values())
    elif isinstance(output, Iterable) and not isinstance(output, str | bytes):
        inside = list(output)
    else:
        inside = list(getattr(output, "__dict__", {}).values())
    return [tensor for each in inside for tensor in _tensors(each, depth - 1)] if depth else []


def named(op: str, handler: Handler, network: nn.Module) -> Handler:
    """The handler, whose errors name the operator and the module that it is in.

    What computes a parametrised weight from others is done once, not at every inference, and costs nothing.
    """

    def count(inputs: list[Any], outputs: list[Any]) -> int:
        if outputs and parametrised_weight(outputs[0].node()) is not None:
            return 0
        try:
            return int(handler(inputs, outputs))
        except Exception as error:  # a handler may be a user's
            module = module_of(outputs[0].node()) if outputs else ""
            why = str(error) if isinstance(error, BenchError) else f"its handler raised {_first_line(error)}"
            raise UncountedOperator(
                f"{op} in {module or type(network).__name__} cannot be counted: {why}. Say what it costs where the "
                f"network is defined, with None instead of the function if it is free:\n{how_to_register(op)}"
            ) from error

    return count


def failure(network: nn.Module, image: Tensor, error: Exception) -> BenchError:
    """The error for a network that could not be traced on `image`; call it within `traceable`.

    A network that cannot be run on it either is used wrongly; else the tracer is what cannot follow it.
    """
    name = type(network).__name__
    scripted = [path for path, module in network.named_modules() if isinstance(module, torch.jit.ScriptModule)]
    if scripted:
        return UncountedOperator(
            f"{name} has scripted code in {scripted[0] or 'itself'}, whose operators cannot be counted. Measure it "
            "before torch.jit.script."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network(image)
    except Exception as failed:  # whatever the network's own code raises
        return UsageError(
            f"{name} does not run on an image of shape {tuple(image.shape[1:])}{_place(failed, network)}: "
            f"{_first_line(failed)}. Choose an image size that the network is made for, or mend its forward."
        )
    if "requires grad as a constant" in str(error):
        return UncountedOperator(
            f"{name} computes with a parameter that is not its own{_place(error, network)}: it would not be trained or "
            "saved. Register it: as an attribute of a module, or in an nn.ModuleList or nn.ParameterList, not a list."
        )
    return UncountedOperator(
        f"{name} runs, but PyTorch's tracer, which shows the operators to count, does not follow it"
        f"{_place(error, network)}: {_first_line(error)}. Write this operation with tensors alone, without conditions "
        "on shapes or values."
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": .")


def _place(error: Exception, network: nn.Module) -> str:
    """The innermost module that was running, and the line of its code: ` (in head.fc, at "x = self.fc(x)")`."""
    names = {module: name for name, module in network.named_modules()}
    running = [(_module(frame), frame, line) for frame, line in _frames(error.__traceback__)]
    methods = [(names[module], frame, line) for module, frame, line in running if module in names]
    if not methods:
        return ""
    name, frame, line = methods[-1]
    code = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
    return f" (in {name or type(network).__name__}" + (f', at "{code}")' if code else ")")


def _module(frame: FrameType) -> nn.Module | None:
    """The module whose method the frame is, unless it is one of `nn.Module`'s own."""
    first = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
    return first if isinstance(first, nn.Module) and frame.f_code.co_filename != nn.modules.module.__file__ else None


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
