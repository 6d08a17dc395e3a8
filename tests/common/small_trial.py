"""The small network that `make_trial` gives: its costs by hand, what was spent on it, and whether it changed."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench import Trial

MACS = 8 * 9 * 64 + 6 * 8 * 9 * 64 + 6 * 4  # of `Small`
NARROW = 4 * 9 * 64 + 3 * 4 * 9 * 64 + 3 * 4  # with 4 and 3 channels
HALF = {"conv1": torch.tensor([0, 2, 4, 6]), "conv2": torch.tensor([1, 3, 5])}
EPOCH = 96  # training images, six steps of 16
Make = Callable[..., Trial]


def tensors(trial: Trial) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trial.network.state_dict().items()}


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def counts(trial: Trial, phase: str) -> tuple[int, int, int]:
    spent = trial.ledger.phases[phase]  # type: ignore[index]
    return spent.images_forward, spent.images_trained, spent.macs
