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

from bench.errors import BenchError, StoreError
from bench.journal.codec import encode
from bench.journal.protocol import Checkpoint, JournalRefused, State
from bench.training.hooks import History, Hook
from bench.training.optimiser import Optimiser
from bench.training.trainer import Standing, Trainer

__all__ = [
    "TrainingSaver",
    "hooks_state",
    "network_tensors",
    "optimiser_tensors",
    "put_hooks",
    "put_network",
    "put_optimiser",
    "split",
]


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
    if {name: (each.shape, each.dtype) for name, each in own.items()} != {
        name: (each.shape, each.dtype) for name, each in tensors.items()
    }:
        raise StoreError("the kept tensors are not this network's.")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def optimiser_tensors(optimiser: Optimiser) -> dict[str, Tensor]:
    """An optimiser's state as flat names, `KEY/PARAMETER`."""
    return {f"{key}/{name}": value for name, state in optimiser.state.items() for key, value in state.items()}


def put_optimiser(optimiser: Optimiser, tensors: Mapping[str, Tensor], network: nn.Module) -> None:
    """Sets an optimiser's state from flat names, each tensor beside its parameter (fused kernels count there, too).

    Raises:
        StoreError: a tensor does not go with a parameter of the network.
    """
    parameters = dict(network.named_parameters())
    state: dict[str, dict[str, Tensor]] = {}
    for flat, value in tensors.items():
        key, _, name = flat.partition("/")
        if name not in parameters or (value.dim() and value.shape != parameters[name].shape):
            raise StoreError(f"the optimiser's {flat} does not go with the network.")
        state.setdefault(name, {})[key] = value.to(parameters[name].device)
    optimiser.state = state


def hooks_state(hooks: Sequence[Hook]) -> State:
    """What hooks remember: tensors by name, and the rest as JSON values.

    Raises:
        BenchError: a hook remembers something that cannot be kept.
    """
    tensors: dict[str, Tensor] = {}
    rest = []
    for number, hook in enumerate(hooks):
        state = hook.state_dict()
        own = type(hook).state_dict is not Hook.state_dict
        if state and own and type(hook).load_state_dict is Hook.load_state_dict:
            raise BenchError(f"{type(hook).__name__} has a state_dict but no load_state_dict: it could not be resumed.")
        tensors |= {f"{number}/{name}": value for name, value in state.items() if isinstance(value, Tensor)}
        rest.append({name: value for name, value in state.items() if not isinstance(value, Tensor)})
        try:
            encode(dict.fromkeys(state) | rest[-1])
        except (TypeError, RecursionError) as error:
            raise BenchError(f"{type(hook).__name__}.state_dict() cannot be kept: {error}.") from None
    return State(tensors, {"hooks": rest})


def put_hooks(hooks: Sequence[Hook], state: State) -> None:
    """Gives hooks back what `hooks_state` took."""
    for number, (hook, rest) in enumerate(zip(hooks, state.values["hooks"], strict=True)):
        hook.load_state_dict({**rest, **split(state.tensors, str(number))})


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
        remembered = hooks_state(hooks)
        order = at.order
        assert order is not None
        tensors = {
            "total": at.total,
            "order": order,
            **_prefixed("network", network_tensors(trainer.network)),
            **_prefixed("optimiser", optimiser_tensors(kept)),
            **_prefixed("mask", masks),
            **_prefixed("hook", remembered.tensors),
            **_prefixed("random", _global_tensors()),
        }
        values = {
            "at": [at.images, at.index, at.seconds, at.start, at.seen, at.rate, at.looked],
            "history": at.history,
            **remembered.values,
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
            JournalRefused: the checkpoint is damaged, or is of another network.
            BenchError: a hook remembers something that cannot be kept: better said before the work than after it.
        """
        hooks_state(hooks)
        state = self.checkpoint.load()
        if state is None:
            return None
        device = next(trainer.network.parameters()).device
        try:
            tensors, values = state.tensors, state.values
            put_network(trainer.network, split(tensors, "network"))
            kept = Optimiser()
            put_optimiser(kept, split(tensors, "optimiser"), trainer.network)
            kept.put_into(optimizer, trainer.network)
            if trainer.weights is not None:
                trainer.weights.load_state_dict(split(tensors, "mask"))
            put_hooks(hooks, State(split(tensors, "hook"), values))
            at = _standing(tensors["total"].to(device), tensors["order"], values["at"], values["history"])
            generator.set_state(tensors["order"])
            _put_global(split(tensors, "random"), values["random"])
            self.restore_books(values["books"])
        except (BenchError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
            raise JournalRefused(
                f"{self.checkpoint} is not as it was written ({type(error).__name__}: {error}). To begin that "
                "training again, delete the file."
            ) from None
        return at


def _standing(total: Tensor, order: Tensor, at: list[Any], history: History) -> Standing:
    """Where a call stood, from what was kept.

    Raises:
        TypeError, ValueError: it is nothing that `TrainingSaver.save` writes.
    """
    images, index, seconds, start, seen, rate, looked = at
    whole = all(type(each) is int and 0 <= each < 2**62 for each in (images, index, start, seen, looked))
    if not whole or type(seconds) is not float or type(rate) is not float or total.dim():
        raise ValueError(f"it stood at {str(at)[:200]}")
    epochs, observations = list(history.epochs), list(history.observations)
    return Standing(total, images, index, seconds, start, seen, rate, order, epochs, observations, looked)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _global_tensors() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    for number in range(torch.cuda.device_count()):
        states[f"cuda{number}"] = torch.cuda.get_rng_state(number)
    return states


def _global_values() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    state: Any = np.random.get_state()  # noqa: NPY002 - plugins may use the global one
    name, keys, position, has_gauss, cached = state
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
