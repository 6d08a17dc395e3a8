"""Keeps a training call that is under way, and takes it up again to the same result, bit by bit.

What is kept: the network, the optimiser, the masks, the hooks, the generators (the order's and the global ones), where
the loop stands, and what its caller keeps itself (the ledger and the curve).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import StoreError
from bench.journal.codec import decode, encode
from bench.journal.contract import Checkpoint, State
from bench.method import History, Hook
from bench.training import Optimiser, Standing, Trainer

__all__ = ["TrainingSaver", "network_tensors", "optimiser_tensors", "put_network", "split"]


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@torch.no_grad()
def put_network(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Sets every parameter and buffer in place.

    Raises:
        StoreError: names or shapes are not the network's.
    """
    own = network_tensors(network)
    if set(own) != set(tensors) or any(own[name].shape != tensors[name].shape for name in own):
        raise StoreError("the kept tensors are not this network's.")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def optimiser_tensors(optimiser: Optimiser) -> dict[str, Tensor]:
    """An optimiser's state as flat names, `KEY/PARAMETER`."""
    return {f"{key}/{name}": value for name, state in optimiser.state.items() for key, value in state.items()}


def put_optimiser(optimiser: Optimiser, tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Sets an optimiser's state from flat names; counters (no dimensions) stay on the CPU."""
    optimiser.state = {}
    for flat, value in tensors.items():
        key, _, name = flat.partition("/")
        optimiser.state.setdefault(name, {})[key] = value.to(device) if value.dim() else value


def split(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix/`, without it."""
    start = prefix + "/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


@dataclass
class TrainingSaver:
    """Keeps one training call in a checkpoint.

    Attributes:
        checkpoint: where.
        books: gives what the caller keeps itself, as JSON values.
        restore_books: puts it back.
    """

    checkpoint: Checkpoint
    books: Callable[[], dict[str, Any]]
    restore_books: Callable[[Mapping[str, Any]], None]

    def due(self) -> bool:
        """Whether it is time to keep the state again."""
        return self.checkpoint.due()

    def save(self, trainer: Trainer, optimizer: torch.optim.Optimizer, hooks: Sequence[Hook], at: Standing) -> None:
        """Keeps the state."""
        kept = Optimiser()
        kept.keep(trainer.network, optimizer)
        masks = trainer.weights.state_dict() if trainer.weights is not None else {}
        order = at.order
        assert order is not None
        tensors = {
            "total": at.total,
            "order": order,
            **_prefixed("network", network_tensors(trainer.network)),
            **_prefixed("optimiser", optimiser_tensors(kept)),
            **_prefixed("mask", masks),
            **_prefixed("random", _global_tensors()),
        }
        values = {
            "at": [at.images, at.index, at.seconds, at.start, at.seen, at.rate],
            "epochs": History(tuple(at.epochs)),
            "hooks": [encode(hook.state_dict()) for hook in hooks],
            "random": _global_values(),
            "books": self.books(),
        }
        self.checkpoint.save(State(tensors, values))

    def resume(
        self,
        trainer: Trainer,
        optimizer: torch.optim.Optimizer,
        hooks: Sequence[Hook],
        generator: torch.Generator,
    ) -> Standing | None:
        """Puts the kept state back, if there is one, and says where the call stood.

        Raises:
            StoreError: the checkpoint is damaged, or is of another network.
        """
        state = self.checkpoint.load()
        if state is None:
            return None
        device = next(trainer.network.parameters()).device
        try:
            tensors, values = state.tensors, state.values
            put_network(trainer.network, split(tensors, "network"))
            kept = Optimiser()
            put_optimiser(kept, split(tensors, "optimiser"), device)
            kept.put_into(optimizer, trainer.network)
            if trainer.weights is not None:
                trainer.weights.load_state_dict(split(tensors, "mask"))
            for hook, hook_state in zip(hooks, values["hooks"], strict=True):
                hook.load_state_dict(decode(hook_state))
            images, index, seconds, start, seen, rate = values["at"]
            at = Standing(
                tensors["total"].to(device), images, index, seconds, start, seen, rate, tensors["order"],
                list(values["epochs"].epochs),
            )  # fmt: skip
            generator.set_state(tensors["order"])
            _put_global(split(tensors, "random"), values["random"])
            self.restore_books(values["books"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise StoreError(f"the checkpoint is not as it was written ({type(error).__name__}: {error}).") from None
        return at


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _global_tensors() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    for number in range(torch.cuda.device_count()):
        states[f"cuda{number}"] = torch.cuda.get_rng_state(number)
    return states


def _global_values() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - plugins may use the global one
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],
    }


def _put_global(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    torch.set_rng_state(tensors["cpu"])
    for number in range(torch.cuda.device_count()):
        if f"cuda{number}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda{number}"], number)
    version, words, gauss = values["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = values["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
