"""Runs the network for a trial's calls: masks in force, BatchNorm recalibrated, every image charged as it passes."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from bench.data.splits import Data
from bench.measure.accuracy import Accuracy, measure_accuracy
from bench.measure.precision import autocast
from bench.specs.budget import FORWARD, TRAINING
from bench.specs.track import Recipe
from bench.surgery import Surgery
from bench.training.batchnorm import batch_statistics, collecting, needs_recalibration, recalibrating
from bench.training.trainer import recipe_loss
from bench.trial.calls import Calls
from bench.trial.gradients import mean_gradients

__all__ = ["RECALIBRATION_IMAGES", "Passes"]

RECALIBRATION_IMAGES = 1024


class Passes:
    """Forward and backward passes of a trial's network.

    Args:
        calls: charged.
        surgery: gives the network, its MACs and its unstructured masks.
        data: the run's.
        recipe: of its training.
        precision: `float32` or `bfloat16`.
    """

    def __init__(self, calls: Calls, surgery: Surgery, data: Data, recipe: Recipe, precision: str) -> None:
        self._calls, self._surgery = calls, surgery
        self.network, self.device = calls.network, data.device
        self.data, self.recipe, self.precision = data, recipe, precision

    def afford(self, images: int, passes: int = FORWARD, recalibrate: bool | int = False) -> None:
        """Refuses passes that the search's share does not pay for.

        Raises:
            BudgetSpent: they cost more than is left.
        """
        self._calls.afford((images * passes + self.recalibration_images(recalibrate)) * self._surgery.macs)

    def recalibration_images(self, wanted: bool | int = True) -> int:
        """Images that fresh BatchNorm statistics take: a number, or the usual one; none without statistics."""
        if not wanted or not needs_recalibration(self.network):
            return 0
        return min(RECALIBRATION_IMAGES if wanted is True else wanted, len(self.data.train))

    def evaluate(self, images: int, recalibrate: bool | int) -> Accuracy:
        """Accuracy on the first validation images, charged as search."""
        with self.effective(), self.recalibrated(recalibrate), autocast(self.device, self.precision):
            batches = self.data.validation_batches(images=images)
            return measure_accuracy(self.network, self.charged(batches), self.data.classes)

    def look(self) -> Accuracy:
        """Validation accuracy for the curve: the harness's own look, never charged."""
        with self.effective(), autocast(self.device, self.precision):
            return measure_accuracy(self.network, self.data.validation_batches(), self.data.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs in the network's mode, float32 [N, classes], without gradient; charged as search."""
        with torch.no_grad(), autocast(self.device, self.precision):
            outputs: Tensor = self.network(images)
        self._charge(len(images), FORWARD)
        return outputs.float()

    def hook_forward(self, images: Tensor) -> Tensor:
        """`forward` in evaluation mode, from inside a training step."""
        self.afford(len(images))
        self.network.eval()
        with self.effective():
            outputs = self.forward(images)
        self.network.train()
        return outputs

    def hook_gradients(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The gradient of the recipe's loss, from inside a training step; see `Step.gradients`."""
        self.afford(len(images), TRAINING)
        batches = self.charged([(images, labels)], TRAINING)
        with batch_statistics(self.network):
            found = mean_gradients(self.network, batches, recipe_loss(self.recipe), self.effective)
        self.network.train()
        return found

    def charged(
        self, batches: Iterable[tuple[Tensor, Tensor]], passes: int = FORWARD
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches that pass once each: charged as search as soon as the next one is asked for."""
        for images, labels in batches:
            yield images, labels
            self._charge(len(labels), passes)

    def effective(self) -> AbstractContextManager[None]:
        """The network with its unstructured masks in force; afterwards its weights are as before, masked ones too."""
        weights = self._surgery.weights
        return weights.forward_weights(straight_through=True) if weights.active else nullcontext()

    @contextmanager
    def recalibrated(self, wanted: bool | int) -> Iterator[None]:
        """Inside, BatchNorm has fresh statistics, from training images that are charged as search."""
        count = self.recalibration_images(wanted)
        if not count:
            yield
            return
        with recalibrating(self.network):
            with collecting(self.network):
                for images, _ in self.data.plain_training_batches(images=count):
                    self.forward(images)
            yield

    def inputs(self, ones: bool, count: int, batch: int, double: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels to take gradients at: training images, or ones with labels of zero."""
        batches: Iterable[tuple[Tensor, Tensor]] = self.data.plain_training_batches(count, batch)
        if ones:
            images = torch.ones(count, *self.data.shape, device=self.device)
            parts = images.to(memory_format=torch.channels_last).split(batch)
            batches = [(part, torch.zeros(len(part), dtype=torch.long, device=self.device)) for part in parts]
        return ((images.double() if double else images, labels) for images, labels in batches)

    def _charge(self, images: int, passes: int) -> None:
        self._calls.charge("search", images, passes, macs=self._surgery.macs)
