"""The contract of a plugin: `Method`, `Control` and `Config`; what it may bring along is in `bench.training.hooks`.

A method is one class in one file. It must have a `name`, a `reference` and `prune(trial)`; it may have settings, a
kind, observers. All compute on the network goes through the trial, everything learnt comes back as a return
value, and hooks carry their state: that is what makes budgets, resuming and verification work for every plugin
without a line of its own.
"""

import abc
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from bench.training.hooks import Observer

if TYPE_CHECKING:
    from bench.trial.trial import Trial

__all__ = ["Config", "Control", "Method"]


class Config(BaseModel):
    """A method's settings, typed and checked. Give each field a default and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


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
        observers: what must be watched in every training, the dense network's too.
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
