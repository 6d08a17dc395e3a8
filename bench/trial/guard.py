"""The guard: finds work done on the network behind the trial's back.

Outside the trial's own calls nobody may run the network (or a copy of it), step an optimiser that holds its
parameters, or change its tensors. Hooks on forwards and optimiser steps see the first two as they happen; the
tensors' version counters and a fingerprint of their bits, compared between calls, show the third. It guards
against mistakes, not malice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from bench.errors import GuardViolation

__all__ = ["Guard"]

_Print = tuple[int, int, int, str]
_ADVICE = "Use trial.train, trial.evaluate, trial.probe and trial.surgery: they charge the budget and can be replayed."


class Guard:
    """Watches one network between `arm` and `disarm`; opened by the trial around its own calls."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.violations: list[str] = []
        self._open = 1
        self._handles: list[Any] = []
        self._seen: dict[str, _Print] = {}

    def arm(self) -> None:
        """Starts watching."""
        guard = self

        def forwarded(module: nn.Module, _inputs: Any) -> None:  # a closure: a deep copy of the network keeps it
            if not guard._open:
                guard._report(f"{type(module).__name__} of the network was run outside the trial")

        def stepped(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
            own = {parameter.data_ptr() for parameter in guard.network.parameters()}
            held = (p.data_ptr() for each in optimizer.param_groups for p in each["params"])
            if not guard._open and any(pointer in own for pointer in held):
                guard._report("an optimiser stepped the network's parameters outside the trial")

        self._handles = [module.register_forward_pre_hook(forwarded) for module in self.network.modules()]
        self._handles.append(register_optimizer_step_pre_hook(stepped))
        self._seen = _fingerprints(self.network)
        self._open = 0

    def disarm(self) -> None:
        """Checks a last time and stops watching; the network is left without hooks."""
        try:
            if not self._open:
                self._compare()
        finally:
            self._open = 1
            for handle in self._handles:
                handle.remove()
            self._handles = []

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The trial's own call: what happens inside is allowed.

        Raises:
            GuardViolation: the network was changed since the last call.
        """
        if not self._open:
            self._compare()
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._seen = _fingerprints(self.network)

    def _compare(self) -> None:
        now = _fingerprints(self.network)
        if now != self._seen:
            changed = sorted(name for name in {*now, *self._seen} if now.get(name) != self._seen.get(name))
            self._seen = now
            self._report(f"tensors of the network were changed outside the trial: {', '.join(changed[:5])}")

    def _report(self, what: str) -> None:
        self.violations.append(what)
        raise GuardViolation(f"{what}. {_ADVICE}")


def _fingerprints(network: nn.Module) -> dict[str, _Print]:
    """Identity, version counter and a hash of the bits of every parameter and buffer."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: (id(tensor), tensor._version, *_bits(tensor.detach())) for name, tensor in tensors}


def _bits(tensor: Tensor) -> tuple[int, str]:
    """Two cheap sums over the values, for `.data` writes, which do not move the version counter.

    The exclusive-or of the bits sees any single change, the sum most of those that cancel out in it (sign flips).
    """
    total = tensor.sum(dtype=torch.float64) if tensor.is_floating_point() else tensor.sum()
    return int(torch.hash_tensor(tensor).view(torch.int64)), repr(total.item())
