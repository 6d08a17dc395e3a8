"""The one training loop: dense networks, a method's own training and the final fine-tuning all go through it.

It knows steps, schedules, hooks, observers and masks; it does not know what a budget is. Its caller says how many
images or seconds it may take and is told of every step.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.splits import Data, training_batches
from bench.errors import BenchError
from bench.measure.precision import autocast
from bench.specs.track import Recipe
from bench.training.hooks import Epoch, History, Hook, Observation, Observer, Step
from bench.training.optimiser import Optimiser
from bench.training.points import Points, steps_of

if TYPE_CHECKING:
    from bench.surgery import ChannelGroup
    from bench.surgery.weights import WeightMasks

__all__ = ["Allowance", "Diverged", "Loss", "Penalty", "Saver", "Standing", "Trainer", "recipe_loss"]

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Penalty = Callable[[nn.Module], Tensor]


class Diverged(BenchError):
    """The training loss is not finite."""


@dataclass(frozen=True)
class Allowance:
    """How long one training phase may last: whichever ends first.

    Attributes:
        images: images trained, at most.
        seconds: time, at most; None where time does not bind.
    """

    images: int
    seconds: float | None = None

    def progress(self, images: int, seconds: float) -> float:
        """Share of the phase that is over, in [0, 1]."""
        done = images / self.images if self.images else 1.0
        if self.seconds is not None:
            done = max(done, seconds / self.seconds if self.seconds > 0 else 1.0)
        return min(1.0, done)


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Linear warm-up over the first `recipe.warmup` of a phase, then half a cosine down to zero at its end."""
    if progress < recipe.warmup:
        return recipe.learning_rate * progress / recipe.warmup
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - recipe.warmup) / (1 - recipe.warmup)))


@dataclass
class Standing:
    """Where a training call stands: all that the loop itself remembers.

    Attributes:
        total: summed loss over the images of the epoch that is under way.
        images, index, seconds: trained images, steps and time of this call so far.
        start, seen: steps and images of the epoch that is under way.
        rate: the last learning rate.
        order: the generator's state at the beginning of the epoch.
        epochs: those that have ended.
        observations: what the observers have seen.
        looked: the step after which they looked last.
    """

    total: Tensor
    images: int = 0
    index: int = 0
    seconds: float = 0.0
    start: int = 0
    seen: int = 0
    rate: float = 0.0
    order: Tensor | None = None
    epochs: list[Epoch] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    looked: int = 0

    @property
    def history(self) -> History:
        """What came of the call so far."""
        return History(tuple(self.epochs), tuple(self.observations))

    def count(self, loss: Tensor, images: int) -> None:
        """One step was taken on `images` images at a mean loss of `loss`."""
        self.total += loss * images
        self.images += images
        self.seen += images
        self.index += 1
        self.start += 1

    def end_epoch(self, epoch: Epoch) -> None:
        """The epoch is over; the next one begins at its first step."""
        self.epochs.append(epoch)
        self.total = torch.zeros_like(self.total)
        self.start = self.seen = 0


class Saver(Protocol):
    """Keeps the state of a training call as it goes; see `bench.journal.training_state`."""

    def due(self) -> bool:
        """Whether it is time to keep the state again."""

    def save(self, trainer: "Trainer", optimizer: torch.optim.Optimizer, hooks: Sequence[Hook], at: Standing) -> None:
        """Keeps the state."""

    def resume(
        self,
        trainer: "Trainer",
        optimizer: torch.optim.Optimizer,
        hooks: Sequence[Hook],
        generator: torch.Generator,
    ) -> Standing | None:
        """Puts the kept state back, if there is one, and says where the call stood."""


def _ignore(_images: int) -> None:
    pass


@dataclass
class Trainer:
    """Trains one network on one data set with one recipe.

    Attributes:
        network: trained in place.
        data: its training split.
        recipe: batch size, augmentation, learning rate.
        precision: `float32` or `bfloat16`.
        optimiser: state that goes on from call to call.
        groups: channel groups as they are now, for observers.
        weights: unstructured masks, kept in force; None before there are any.
        forward, gradients: what hooks may ask for, see `Step`; None where there are no hooks.
        on_step: told the images of every step, right after it.
        on_epoch: told every epoch as it ends.
    """

    network: nn.Module
    data: Data
    recipe: Recipe
    precision: str
    optimiser: Optimiser
    groups: "Sequence[ChannelGroup]" = ()
    weights: "WeightMasks | None" = None
    forward: Callable[[Tensor], Tensor] | None = None
    gradients: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None
    on_step: Callable[[int], None] = _ignore
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None

    def train(
        self,
        allowance: Allowance,
        generator: torch.Generator,
        loss: Loss | None = None,
        hooks: Sequence[Hook] = (),
        observers: Sequence[Observer] = (),
        saver: "Saver | None" = None,
        schedule: tuple[float, float] = (0.0, 1.0),
        penalty: Penalty | None = None,
    ) -> History:
        """Trains until the allowance is used up; the learning rate anneals to zero at its end.

        Args:
            allowance: images and seconds, at most. A step that does not fit any more is not taken.
            generator: draws the order of the images and their augmentation.
            loss: `loss(network, outputs, labels)`, a scalar; None for cross-entropy.
            hooks: see every step.
            observers: see the network at points (`bench.training.points`) and at each epoch's end.
            saver: keeps the state of this call as it goes, and gives back what a killed process left.
            schedule: the part of the learning rate's schedule that this call goes through, in [0, 1].
            penalty: `penalty(network)`, a scalar that is added to the loss of each step.

        Raises:
            Diverged: the loss is not finite at the end of an epoch (on the CPU, at any step).
        """
        recipe, network = self.recipe, self.network
        begin, end = schedule
        device = next(network.parameters()).device
        criterion = _with_penalty(loss or recipe_loss(recipe), penalty)
        optimizer = self.optimiser.make(network, recipe)
        train_images = len(self.data.train)
        at = Standing(total=torch.zeros((), device=device))
        if saver is not None:
            at = saver.resume(self, optimizer, hooks, generator) or at
        begun = time.perf_counter() - at.seconds
        more = allowance.images > 0
        steps = steps_of(allowance.images, train_images, recipe.batch_size) if allowance.seconds is None else None
        points = Points(steps)
        network.train()
        while more:
            at.order = generator.get_state()
            for pixels, labels in training_batches(self.data, recipe, generator, start=at.start):
                progress = allowance.progress(at.images, _since(begun))
                if progress >= 1.0 or at.images + len(labels) > allowance.images:
                    more = False
                    break
                at.rate = learning_rate(recipe, begin + (end - begin) * progress)
                for group in optimizer.param_groups:
                    group["lr"] = at.rate
                value = self._step(optimizer, criterion, pixels, labels, hooks, at.index, progress)
                if device.type == "cpu" and not math.isfinite(value.item()):
                    raise Diverged(_diverged(value, at.index, at.rate))
                at.count(value, len(labels))
                self.on_step(len(labels))
                if observers and points.due(at.index, progress, allowance.progress(at.images, _since(begun))):
                    self._look(observers, at)
                if saver is not None and saver.due():
                    at.seconds = _since(begun)
                    saver.save(self, optimizer, hooks, at)
            if not at.seen:
                break
            mean = (at.total / at.seen).item()
            if not math.isfinite(mean):
                raise Diverged(_diverged(at.total / at.seen, at.index, at.rate))
            network.eval()
            if observers and at.looked < at.index:
                self._look(observers, at)
            at.end_epoch(Epoch(at.images / train_images, mean, at.rate))
            self.on_epoch(at.epochs[-1])
            network.train()
        network.eval()
        optimizer.zero_grad(set_to_none=True)
        self.optimiser.keep(network, optimizer)
        return at.history

    def _look(self, observers: Sequence[Observer], at: Standing) -> None:
        """Lets the observers see the network in evaluation mode; its mode is as before."""
        training = self.network.training
        self.network.eval()
        seen = {each.name: dict(each.observe(self.network, self.groups)) for each in observers}
        self.network.train(training)
        at.observations.append(Observation(at.images / len(self.data.train), seen))
        at.looked = at.index

    def _step(
        self,
        optimizer: torch.optim.Optimizer,
        criterion: Loss,
        pixels: Tensor,
        labels: Tensor,
        hooks: Sequence[Hook],
        index: int,
        progress: float,
    ) -> Tensor:
        step = None
        if hooks:
            assert self.weights is not None
            assert self.forward is not None
            assert self.gradients is not None
            calls = self.forward, self._sample, self.gradients
            step = Step(index, progress, self.network, pixels, labels, self.weights, *calls)
            for hook in hooks:
                hook.before_step(step)
        masks = self.weights if self.weights is not None and self.weights.active else None
        with masks.forward_weights(masks.straight_through) if masks else nullcontext():
            with autocast(pixels.device, self.precision):
                outputs = self.network(pixels)
                value = criterion(self.network, outputs, labels)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        optimizer.step()
        if masks and not masks.straight_through:
            masks.apply_()
        if step is not None:
            for hook in hooks:
                hook.after_step(step)
        return value.detach()

    def _sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training images drawn by lot, normalised and not augmented, and their labels."""
        split = self.data.train
        pixels, labels = split.at(torch.randperm(len(split), generator=generator)[:count])
        return self.data.normaliser(pixels), labels


def _since(begun: float) -> float:
    return time.perf_counter() - begun


def recipe_loss(recipe: Recipe) -> Loss:
    """Cross-entropy as the recipe has it."""
    smoothing = recipe.label_smoothing
    return lambda _net, outputs, labels: functional.cross_entropy(outputs.float(), labels, label_smoothing=smoothing)


def _with_penalty(loss: Loss, penalty: Penalty | None) -> Loss:
    if penalty is None:
        return loss
    return lambda network, outputs, labels: loss(network, outputs, labels) + penalty(network)


def _diverged(value: Tensor, index: int, rate: float) -> str:
    return (
        f"the training loss is {value.item()} at step {index} (learning rate {rate:.3g}). Lower the learning rate in "
        "the track's recipe, or look at the method's own loss."
    )
