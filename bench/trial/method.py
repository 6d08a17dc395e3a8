"""The contract of a plugin: `Method`, its `Config`, and the `Hook` and `Observer` that it may bring.

A method is one class in one file. It must have a `name`, a `reference` and `prune(trial)`; it may have settings, a
kind, observers. All compute on the network goes through the trial, everything learnt comes back as a return
value, and hooks carry their state: that is what makes budgets, resuming and verification work for every plugin
without a line of its own.
"""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor, nn

    from bench.surgery import ChannelGroup
    from bench.surgery.weights import WeightMasks
    from bench.trial.trial import Trial

__all__ = ["Config", "Control", "Epoch", "History", "Hook", "Method", "Observer", "Step"]


class Config(BaseModel):
    """A method's settings, typed and checked. Give each field a default and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Observer(abc.ABC):
    """Sees the network at the end of every epoch, the dense network's training included.

    An observer only reads. What it returns is kept, epoch by epoch, in `trial.history` and in the `History` that
    `trial.train` returns; keep it small (norms, not weights).
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def observe(self, network: "nn.Module", groups: "Sequence[ChannelGroup]") -> "Mapping[str, Tensor]":
        """Tensors by name (usually a group's name), for this epoch."""


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
        observed: what each observer saw, by its name.
    """

    epochs: float
    train_loss: float
    learning_rate: float
    observed: "Mapping[str, Mapping[str, Tensor]]" = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """What a `train` call did, epoch by epoch."""

    epochs: tuple[Epoch, ...] = ()

    def __add__(self, other: "History") -> "History":
        return History(self.epochs + other.epochs)

    def observed(self, observer: "type[Observer]") -> "list[Mapping[str, Tensor]]":
        """What `observer` saw, one entry an epoch."""
        return [epoch.observed[observer.name] for epoch in self.epochs if observer.name in epoch.observed]


class Method(abc.ABC):
    """A pruning method.

    Attributes:
        name: what `--method` calls it.
        reference: the paper, with authors and year, or what the method is where there is none.
        kind: `structured` (whole channels go) or `unstructured` (single weights become zero).
        starts: `trained` (from the dense network, whose training is charged) or `untrained` (from a fresh one).
        finetunes: `track` (what is left of the budget goes to the track's fine-tuning) or `itself` (the paper's own
            last phase replaces it).
    targets: `size` (a size must be given), `any` (a size or `auto`: the method has a constraint of its own),
        `auto` (its own constraint always decides), or `none` (the method prunes nothing).
    needs: what the run must offer, checked before anything runs: `batchnorm` (the network has BatchNorm layers),
        `dense-history` (the dense network is trained here, watched by the method's observers).
        observers: what must be watched in every epoch, in dense training too.
        Config: the settings.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    kind: ClassVar[Literal["structured", "unstructured"]] = "structured"
    starts: ClassVar[Literal["trained", "untrained"]] = "trained"
    finetunes: ClassVar[Literal["track", "itself"]] = "track"
    targets: ClassVar[Literal["size", "any", "auto", "none"]] = "size"
    control: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset()
    observers: ClassVar[tuple[type[Observer], ...]] = ()
    Config: ClassVar[type[Config]] = Config

    @abc.abstractmethod
    def prune(self, trial: "Trial[Any]") -> None:
        """Brings `trial.network` to `trial.target`, within the budget."""


class Control(Method):
    """A method that every table must have, so that the others can be judged."""

    control: ClassVar[bool] = True
