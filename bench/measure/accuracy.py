"""How often a network is right, and on which images."""

import base64
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import UsageError
from bench.measure._mode import device_of, measuring

__all__ = ["Accuracy", "measure_accuracy", "pack_bits", "unpack_bits"]


@dataclass(frozen=True)
class Accuracy:
    """What a network got right.

    Attributes:
        top1: fraction of images whose highest output is the label's, 0 to 1.
        top5: fraction of images with the label among the five highest; None for 10 classes or fewer.
        loss: mean cross-entropy in nats; not finite where an output is not.
        images: how many there were.
        correct: for each image, in order, whether top 1 is right (bool `[images]`, on the CPU), if asked for.
    """

    top1: float
    top5: float | None
    loss: float
    images: int
    correct: Tensor | None = field(default=None, compare=False, repr=False)


def measure_accuracy(
    network: nn.Module | Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    classes: int,
    keep_correct: bool = False,
) -> Accuracy:
    """Run the network on `batches` in eval mode; an image with an output that is not finite counts as wrong.

    Args:
        network: gives `[N, classes]` for `[N, ...]`; its modes are left as they were. A function that
            runs one is given the images as they come, and sees to modes and devices itself.
        batches: pairs of images and labels (int64 `[N]`), moved to the network's device if need be.
        classes: decides whether top 5 is measured.
        keep_correct: keep the result of each image.

    Raises:
        UsageError: there are no images, or the network's outputs have another shape.
    """
    module = network if isinstance(network, nn.Module) else None
    device = device_of(module) if module else None
    first: list[Tensor] = []
    five: list[Tensor] = []
    losses: list[Tensor] = []
    with measuring(module) if module else nullcontext(), torch.inference_mode():
        for images, labels in batches:
            outputs = network(images.to(device, non_blocking=True) if device else images).float()
            labels = labels.to(outputs.device, non_blocking=True)
            if outputs.shape != (len(labels), classes):
                raise UsageError(
                    f"the network's outputs are {tuple(outputs.shape)}, not {(len(labels), classes)}. "
                    f"Build it for {classes} classes."
                )
            finite = outputs.isfinite().all(dim=1)
            first.append((outputs.argmax(dim=1) == labels) & finite)
            if classes > 10:
                five.append((outputs.topk(5).indices == labels[:, None]).any(dim=1) & finite)
            losses.append(F.cross_entropy(outputs, labels, reduction="none"))
    correct = torch.cat(first).cpu() if first else torch.empty(0)
    if not len(correct):
        raise UsageError("there are no images to measure accuracy on. Check the data set's split.")
    return Accuracy(
        top1=int(correct.sum()) / len(correct),
        top5=int(torch.cat(five).sum()) / len(correct) if five else None,
        loss=float(torch.cat(losses).double().mean()),
        images=len(correct),
        correct=correct.clone() if keep_correct else None,
    )


def pack_bits(correct: Tensor) -> str:
    """Bools `[images]` as text, eight to a byte, first image in the highest bit (numpy's order), base64."""
    return base64.b64encode(np.packbits(correct.cpu().numpy().astype(bool)).tobytes()).decode("ascii")


def unpack_bits(text: str, images: int) -> Tensor:
    """The bools `[images]` that `pack_bits` made into `text`.

    Raises:
        UsageError: `text` is not of that many images.
    """
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except ValueError as error:
        raise UsageError(f"the correct bits are damaged ({error}). Measure the run again.") from error
    if len(data) != (images + 7) // 8:
        raise UsageError(f"the correct bits are {len(data)} bytes, not those of {images} images. Measure again.")
    return torch.from_numpy(np.unpackbits(data, count=images).astype(bool))
