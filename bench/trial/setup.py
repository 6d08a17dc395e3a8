"""What the harness makes a trial from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from bench.data.splits import Data
from bench.journal.protocol import Journal
from bench.specs.budget import Ledger
from bench.specs.target import Target
from bench.specs.track import Recipe
from bench.training.hooks import History, Observer
from bench.trial.calls import Report
from bench.trial.method import Config
from bench.trial.snapshot import Weights

__all__ = ["ConfigT", "TrialSetup"]

ConfigT = TypeVar("ConfigT", bound=Config, default=Any)


def _quiet(_phase: str, _share: float) -> None:
    pass


@dataclass(frozen=True)
class TrialSetup(Generic[ConfigT]):
    """All that a trial is made from.

    Attributes:
        network: to be pruned, in evaluation mode, on the run's device.
        config: the method's settings.
        target: what to reach.
        rng: the method's own generator, on the CPU.
        history: of the dense network's training.
        ledger: what may be spent, the dense network's training booked.
        recipe: of the method's training and of fine-tuning.
        precision: `float32` or `bfloat16`.
        seed: of the run.
        data: without its test part.
        prunable: patterns of layer names; None for all convolutions.
        dense_macs, dense_params: of the dense network.
        dense_epochs: that trained the dense network; None where it came trained.
        proof_inputs: [N, C, H, W], on which removals are proven.
        observers: of the method.
        initialise: draws new weights for the network, in place.
        initial: the weights that the network began with.
        recorded_widths: from a finished run's id to the widths of its pruned network, by layer.
        journal: keeps and replays calls; None to keep nothing.
        report: told the phase and how far it is.
    """

    network: nn.Module
    config: ConfigT
    target: Target
    rng: torch.Generator
    history: History
    ledger: Ledger
    recipe: Recipe
    precision: str
    seed: int
    data: Data
    prunable: Sequence[str] | None
    dense_macs: int
    dense_params: int
    proof_inputs: Tensor
    observers: Sequence[Observer]
    initialise: Callable[[nn.Module], None]
    initial: Callable[[], Weights]
    recorded_widths: Callable[[str], Mapping[str, int]]
    dense_epochs: float | None = None
    journal: Journal | None = None
    report: Report = field(default=_quiet)
