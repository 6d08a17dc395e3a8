"""What may watch a training: hooks that see every step, observers that see the network at points, and the history.

The training loop calls them; what a method is and how a trial keeps their state is elsewhere.
"""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor, nn

    from bench.surgery import ChannelGroup
    from bench.surgery.weights import WeightMasks

__all__ = ["Epoch", "History", "Hook", "Observation", "Observer", "Step"]


class Observer(abc.ABC):
    """Sees the network at points of every training call, the dense network's training included.

    These are five evenly spaced points or more, however short the call is (every step, where it has fewer), and each
    epoch's end. An observer only reads. What it returns is kept, point by point, in `trial.history` and in the
    `History` that `trial.train` returns; keep it small (norms, not weights).

    A tensor that is called like a channel group and has a channel's value at each place of its last dimension follows
    the group's removals: `trial.history` then holds it for the channels that are left.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def observe(self, network: "nn.Module", groups: "Sequence[ChannelGroup]") -> "Mapping[str, Tensor]":
        """Tensors by name (usually a group's name), as things are now."""


@dataclass(frozen=True)
class Step:
    """What a hook sees of one optimiser step.

    Attributes:
        index: number of the step in this `train` call, from 0.
        progress: share of this `train` call that is done, in [0, 1].
        network: the network, to be read.
        images: float [N, channels, size, size], as trained on.
        labels: int64 [N].
        weights: the unstructured masks, which a hook may set.
        forward: runs the network on images without gradient, charged as search at 1 x MACs an image. It raises
            `BudgetSpent` when that is more than `trial.ledger.search_left`.
        sample: `sample(count, generator)` draws training images by lot, not augmented, with their labels: all there
            are when `count` is more.
        gradients: `gradients(images, labels)` gives the gradient of the recipe's loss by parameter name, of masked
            weights too, BatchNorm normalising by this batch; charged as search at 3 x MACs an image, with `forward`'s
            limit.
    """

    index: int
    progress: float
    network: "nn.Module"
    images: "Tensor"
    labels: "Tensor"
    weights: "WeightMasks"
    forward: "Callable[[Tensor], Tensor]"
    sample: "Callable[[int, Generator], tuple[Tensor, Tensor]]"
    gradients: "Callable[[Tensor, Tensor], dict[str, Tensor]]"


class Hook:
    """Sees every optimiser step of one `trial.train` call. What it remembers is in its `state_dict`.

    Write it as a dataclass, and its state is kept by itself: the fields that have a default, or none in `__init__`.
    Those without a default (the trial, settings) are what the method hands it each time.
    """

    def before_step(self, step: Step) -> None:
        """Called before the forward pass."""

    def after_step(self, step: Step) -> None:
        """Called after the optimiser's step."""

    def state_dict(self) -> dict[str, Any]:
        """All that the hook remembers, as tensors and JSON values by name; of a dataclass, its fields of state."""
        return {each.name: getattr(self, each.name) for each in _state_fields(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state that `state_dict` gave, in which tensors are on the CPU and tuples have become lists.

        A dataclass's tensors go back to the device where the field's tensor is, and lists become tuples where the
        field holds one.

        Raises:
            NotImplementedError: the state is not that of the hook's fields, and the hook does not say how to load it.
        """
        names = {each.name for each in _state_fields(self)}
        if set(state) != names:
            raise NotImplementedError(
                f"{type(self).__name__} is given the state {sorted(state)} and has the fields {sorted(names)}. "
                "Make it a dataclass whose state has defaults, or write load_state_dict."
            )
        for name, value in state.items():
            before = getattr(self, name)
            if isinstance(before, tuple) and isinstance(value, list):
                value = tuple(value)
            elif hasattr(before, "device") and hasattr(value, "to"):
                value = value.to(before.device)
            setattr(self, name, value)


def _state_fields(hook: Hook) -> "list[Field[Any]]":
    """The fields of a dataclass that begin alike each time, and so have to be kept; none of another class."""
    own: tuple[Field[Any], ...] = fields(hook) if is_dataclass(hook) else ()
    return [f for f in own if not f.init or f.default is not MISSING or f.default_factory is not MISSING]


@dataclass(frozen=True)
class Epoch:
    """The end of one epoch of training (the last one of a `train` call may be a part of an epoch).

    Attributes:
        epochs: passes over the training split so far in this call.
        train_loss: mean of the loss over the epoch's images.
        learning_rate: at the end.
    """

    epochs: float
    train_loss: float
    learning_rate: float


@dataclass(frozen=True)
class Observation:
    """What the observers saw at one point of a training.

    Attributes:
        epochs: passes over the training split so far in its call.
        observed: tensors by name, by the observer's name.
    """

    epochs: float
    observed: "Mapping[str, Mapping[str, Tensor]]"


@dataclass(frozen=True)
class History:
    """What training did: the ends of its epochs, and what the observers saw on the way; several calls can be added."""

    epochs: tuple[Epoch, ...] = ()
    observations: tuple[Observation, ...] = ()

    def __add__(self, other: "History") -> "History":
        return History(self.epochs + other.epochs, self.observations + other.observations)

    def observed(self, observer: "type[Observer]") -> "list[Mapping[str, Tensor]]":
        """What `observer` saw, point by point, in order."""
        return [each.observed[observer.name] for each in self.observations if observer.name in each.observed]

    def after_removal(self, widths: "Mapping[str, int]", keep: "Mapping[str, Tensor]") -> "History":
        """The same of the channels that stay; see `Observer`.

        Args:
            widths: of the groups before the removal, by name.
            keep: int64 indices of the channels that stay, by group name.
        """

        def sliced(name: str, tensor: "Tensor") -> "Tensor":
            if name not in keep or not tensor.dim() or tensor.shape[-1] != widths[name]:
                return tensor
            return tensor.index_select(-1, keep[name].to(tensor.device))

        def after(seen: Observation) -> Observation:
            by_observer = {
                observer: {name: sliced(name, tensor) for name, tensor in tensors.items()}
                for observer, tensors in seen.observed.items()
            }
            return replace(seen, observed=by_observer)

        return replace(self, observations=tuple(after(seen) for seen in self.observations))
