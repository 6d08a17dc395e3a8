"""Ten steps of training: `Trainer` against a plain PyTorch loop over the same images with the same optimiser.

The plain loop has its images as normalised float tensors already and draws a random order; ours gathers uint8 images,
normalises them, follows the schedule, counts losses and looks for divergence at every step.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.splits import Data
from bench.seeding import generator
from bench.specs.track import Recipe, load_track
from bench.training.optimiser import Optimiser
from bench.training.trainer import Allowance, Trainer

from .conftest import build

STEPS = 10

Ready = tuple[nn.Module, Data, Recipe, Tensor]


def ready(digits: Data) -> Ready:
    network, _ = build("lenet5")
    return network, digits, load_track("digits-lenet5").finetune, digits.normaliser(digits.train.pixels)


def ours(network: nn.Module, data: Data, recipe: Recipe, _images: Tensor) -> None:
    trainer = Trainer(network, data, recipe, "float32", Optimiser())
    trainer.train(Allowance(STEPS * recipe.batch_size), generator(0, "order"))


def plain(network: nn.Module, data: Data, recipe: Recipe, images: Tensor) -> None:
    optimizer = torch.optim.SGD(
        network.parameters(),
        recipe.learning_rate,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
        fused=True,
    )
    network.train()
    order = torch.randperm(len(images))
    for part in order[: STEPS * recipe.batch_size].split(recipe.batch_size):
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images[part]), data.train.labels[part]).backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        optimizer.step()


@pytest.mark.parametrize("train", [ours, plain], ids=["bench", "plain"])
def test_steps(benchmark: Any, digits: Data, train: Callable[..., None]) -> None:
    benchmark.pedantic(train, setup=lambda: (ready(digits), {}), rounds=5, warmup_rounds=1)


def test_the_ratio(ratio: Callable[..., float], digits: Data) -> None:
    ratio("Trainer / plain loop, ten steps on digits with LeNet-5", ours, plain, lambda: ready(digits), rounds=5)
