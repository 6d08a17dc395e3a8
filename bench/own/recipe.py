"""What a proposed track trains with, and how long: from the data's size, the network's kind and the device's speed.

A proposal to begin from: what is written into the file is the user's to change.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Proposed", "propose_recipe", "step_seconds"]

_STEPS = 1000  # of fine-tuning, where time allows
_RUN_SECONDS = 120.0
_EPOCHS = (1, 20)
_STEPS_AN_EPOCH = 20
_BATCH = (8, 128)
_TRIED = 8
_TRIED_SECONDS = 5.0


@dataclass(frozen=True)
class Proposed:
    """A recipe and a budget.

    Attributes:
        optimiser, learning_rate, weight_decay: of fine-tuning.
        batch_size: images a step.
        finetune_epochs: dense epochs after the dense network.
        dense_epochs: of the dense network's training; 0 where its weights are given.
        epoch_seconds: of one dense epoch on this device, measured.
    """

    optimiser: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    finetune_epochs: int
    dense_epochs: int
    epoch_seconds: float

    @property
    def run_seconds(self) -> float:
        """About how long a run trains that begins with the dense network."""
        return self.finetune_epochs * self.epoch_seconds


def batch_size_for(images: int) -> int:
    """A power of two that gives twenty steps an epoch, 8 to 128."""
    wanted = 2 ** int(math.log2(max(1, images // _STEPS_AN_EPOCH)))
    return min(max(_BATCH[0], min(_BATCH[1], wanted)), max(2, images))


def propose_recipe(network: nn.Module, images: int, seconds: float, batch: int, given: bool) -> Proposed:
    """A recipe and a budget.

    Args:
        network: transformers (no BatchNorm, but LayerNorm) are trained by Adam, others by SGD.
        images: training images.
        seconds: of one step, see `step_seconds`.
        batch: images a step.
        given: whether the network is trained already.
    """
    kinds = {type(module) for module in network.modules()}
    normalised = any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)
    adam = nn.LayerNorm in {base for kind in kinds for base in kind.__mro__} and not normalised
    steps = max(1, images // batch)
    epoch = seconds * steps
    least, most = _EPOCHS
    affordable = int(_RUN_SECONDS / epoch) if epoch else most
    epochs = max(least, min(most, math.ceil(_STEPS / steps), max(least, affordable)))
    rate = (1e-4 if adam else 0.01) if given else (1e-3 if adam else 0.05 if normalised else 0.02)
    return Proposed(
        optimiser="adam" if adam else "sgd",
        learning_rate=rate,
        weight_decay=0.0 if adam else 1e-4,
        batch_size=batch,
        finetune_epochs=epochs,
        dense_epochs=0 if given else 2 * epochs,
        epoch_seconds=epoch,
    )


def step_seconds(network: nn.Module, shape: tuple[int, int, int], batch: int) -> float:
    """Seconds of one training step on the network's device: the best of a few. The network's weights stay.

    What else the machine does only adds to it.
    """
    parameter = next(network.parameters())
    device = parameter.device
    images = torch.randn(batch, *shape, device=device).to(memory_format=torch.channels_last)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    taken = []
    network.train()
    try:
        for number in range(_TRIED):
            begun = time.perf_counter()
            outputs = network(images)
            functional.cross_entropy(outputs, torch.zeros(batch, dtype=torch.int64, device=device)).backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - begun)
            if sum(taken) > _TRIED_SECONDS and number:
                break
    finally:
        network.zero_grad(set_to_none=True)
        network.load_state_dict(kept)
        network.eval()
    return min(taken)
