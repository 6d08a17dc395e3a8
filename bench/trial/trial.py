"""The trial: all that a method is handed.

Every bit of compute on the network goes through it, is charged to the ledger, is watched by the guard, and can be
journaled. A method reads the network freely and changes it only by the trial's calls. What the harness does with a
trial before and after is in `bench.trial.phases`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Generic, Literal

import torch
from torch import Tensor

from bench.data.base import Images
from bench.errors import BenchError, SurgeryError, UsageError
from bench.measure.accuracy import Accuracy
from bench.measure.activations import Reduce, reduced_activations
from bench.records.record import LARGEST
from bench.records.text import one_line
from bench.seeding import derive_seed
from bench.specs.budget import TRAINING, Ledger
from bench.surgery.proof import bare_copy
from bench.training.batchnorm import batch_statistics as statistics_of_batches
from bench.training.hooks import History, Hook
from bench.training.points import steps_of
from bench.training.trainer import Loss, Penalty, recipe_loss
from bench.trial.calls import Calls
from bench.trial.gradients import HESSIAN, GradientReduce, absolute_copy, mean_gradients
from bench.trial.passes import Passes
from bench.trial.setup import ConfigT, TrialSetup
from bench.trial.snapshot import Snapshot
from bench.trial.state import TrialState
from bench.trial.surgery import TrialSurgery
from bench.trial.training import Training

__all__ = ["SplitSizes", "Trial"]


@dataclass(frozen=True)
class SplitSizes:
    """Images that a method may use.

    Attributes:
        train, validation: of each split.
    """

    train: int
    validation: int


class Trial(Generic[ConfigT]):
    """What a method works on and with; `Trial[MyConfig]` where its settings are a `MyConfig`.

    Attributes:
        network: the network; read it freely.
        config: the method's settings.
        target: what to reach.
        device: where the network is.
        rng: a CPU generator that is the method's own; draw from it, never from a global one.
        history: what the observers saw of the channels that are left, the dense network's training included.
        surgery: channel groups, masks, `fit` and removal.
        ledger: what may be spent and what was; `ledger.left` and `ledger.search_left` in the budget's unit.
    """

    def __init__(self, setup: TrialSetup[ConfigT]) -> None:
        self._setup = setup
        self.network, self.config, self.target = setup.network, setup.config, setup.target
        self.device, self.rng = setup.data.device, setup.rng
        self.history, self.ledger = setup.history, setup.ledger
        self._calls = Calls(setup.network, setup.ledger, setup.rng, setup.seed, setup.journal, setup.report)
        self.surgery = TrialSurgery(
            self._calls,
            setup.data.shape,
            setup.prunable,
            setup.dense_macs,
            setup.dense_params,
            setup.target,
            setup.proof_inputs,
            setup.initialise,
            self._follow,
        )
        self._state = self._calls.state = TrialState(self._calls, self.surgery.weights)
        self._passes = Passes(self._calls, self.surgery, setup.data, setup.recipe, setup.precision)
        self._training = Training(self._calls, self._state, self.surgery, self._passes, setup.observers)
        self._practices = 0

    def train(
        self,
        epochs: float | None = None,
        *,
        share: float | None = None,
        loss: Loss | None = None,
        penalty: Penalty | None = None,
        hooks: Sequence[Hook] = (),
        schedule: tuple[float, float] = (0.0, 1.0),
    ) -> History:
        """Trains the network with the track's recipe; charged 3 x MACs an image.

        The learning rate warms up and anneals to zero within the call. When the budget ends first, the call is
        shorter and still anneals to its end; when not even a batch is left it returns an empty history.

        Args:
            epochs: passes over the training split, a part of one if need be.
            share: instead of `epochs`: the share of the method's part of the budget (`ledger.pruning`) to spend.
            loss: `loss(network, outputs, labels)`, a scalar with a gradient; pure, so that it can be replayed. None
                for the recipe's cross-entropy.
            penalty: `penalty(network)`, a scalar that is added to the loss at each step (a regulariser); pure, too.
            hooks: see every step and carry their own state.
            schedule: the part of the learning rate's schedule that this call goes through, from 0 (its beginning) to
                1 (annealed to zero). Calls with (0, 0.4) and (0.4, 1) are one training with something in between,
                such as a removal; the optimiser's state goes on in any case.

        Returns:
            Loss by epoch, and what the observers saw at each of their points, of this call.

        Raises:
            UsageError: what is asked for is less than one batch of images, though the budget has more.
        """
        if (epochs is None) == (share is None):
            raise ValueError("train takes either epochs or share")
        if not 0 <= schedule[0] < schedule[1] <= 1:
            raise ValueError(f"schedule {schedule}: give where it begins and ends, 0 <= begin < end <= 1")
        self._calls.outside_masks("training", "not keep the mask")
        words = f"epochs={epochs} share={share} loss={_label(loss)} hooks={[_label(hook) for hook in hooks]}"
        if penalty is not None:
            words += f" penalty={_label(penalty)}"
        if schedule != (0, 1):
            words += f" schedule={schedule}"
        images = None if epochs is None else round(epochs * self.sizes.train)
        allowance = self._calls.allowance(images, share, self.surgery.macs)
        self._check_length(f"epochs={epochs}" if share is None else f"share={share}", images, allowance.images)

        def work() -> History:
            return self._training.run("prune", allowance, loss, hooks, schedule, penalty)

        return self._trained("train", words, work, hooks)

    def evaluate(self, images: int | None = None, recalibrate: bool | int = True) -> Accuracy:
        """Accuracy on validation images; charged 1 x MACs an image to the search's share.

        Args:
            images: the first so many validation images (their order is mixed by class); None for all.
            recalibrate: collect fresh BatchNorm statistics on training images first (the same images for every
                method; a number for fewer or more of them), and put the old ones back after. Charged like an
                evaluation.

        Raises:
            BudgetSpent: it would cost more than `ledger.search_left`.
        """
        count = self.sizes.validation if images is None else min(images, self.sizes.validation)

        def work() -> Accuracy:
            self._passes.afford(count, recalibrate=recalibrate)
            return self._passes.evaluate(count, recalibrate)

        return self._calls.call("evaluate", f"images={count} recalibrate={recalibrate}", work)

    def probe(
        self,
        reduce: Reduce,
        images: int,
        at: Sequence[str] | None = None,
        recalibrate: bool | int = False,
    ) -> dict[str, Tensor]:
        """Runs training images forward and reduces the activations; charged 1 x MACs an image to the search's share.

        Args:
            reduce: from activations by layer name ([N, ...]) to small tensors by name, each a mean over the N images.
            images: how many training images, the same ones each time, not augmented.
            at: names of the layers whose outputs are wanted; None for the layers of all channel groups.
            recalibrate: collect fresh BatchNorm statistics first, as `evaluate` does, and at the same charge.

        Returns:
            What `reduce` gave, averaged over batches by their number of images, on the CPU.

        Raises:
            BudgetSpent: it would cost more than `ledger.search_left`.
        """
        names = tuple(at) if at is not None else tuple(n for g in self.surgery.groups for n in g.layers)
        count = min(images, self.sizes.train)
        passes = self._passes

        def work() -> dict[str, Tensor]:
            passes.afford(count, recalibrate=recalibrate)
            self.network.eval()
            with passes.effective(), passes.recalibrated(recalibrate):
                batches = passes.data.plain_training_batches(images=count)
                return reduced_activations(self.network, names, batches, passes.forward, reduce)

        return self._calls.call("probe", f"images={count} at={names} recalibrate={recalibrate}", work)

    def gradients(
        self,
        images: int,
        loss: Loss | None = None,
        *,
        reduce: GradientReduce | None = None,
        direction: Mapping[str, Tensor] | None = None,
        inputs: Literal["train", "ones"] = "train",
        absolute: bool = False,
        batch_statistics: bool = False,
        batch: int | None = None,
    ) -> dict[str, Tensor]:
        """The gradient of the mean loss over training images; charged 3 x MACs an image to the search's share.

        The network is in evaluation mode and computes in float32. Unstructured masks are in force, and masked weights
        have a gradient, too: what they would gain if they came back. Nothing of the network changes. SNIP is
        `gradients(n, batch_statistics=True)` times the weights; GraSP asks for `direction=` that gradient;
        SynFlow is `gradients(1, lambda net, out, labels: out.sum(), inputs="ones", absolute=True)`; Taylor expansion
        reduces gradient times weight batch by batch.

        Args:
            images: the first so many training images, the same ones each time, not augmented.
            loss: `loss(network, outputs, labels)`, a scalar, the mean over a batch; pure. None for the recipe's
                cross-entropy.
            reduce: from one batch's gradients by parameter name to small tensors by name, which are averaged over
                batches by their images. None for the gradients themselves.
            direction: tensors of the parameters' shapes by name (`gradients` of the same images gives some): the
                product of the loss's Hessian with them is returned instead, charged as three gradients.
            inputs: `ones`: inputs of ones and labels of zero instead of the training images.
            absolute: on a copy in float64 whose parameters and statistics have their absolute values.
            batch_statistics: BatchNorm normalises by each batch's own statistics, as in training; the running ones stay
                as they are. For networks that are not trained yet, whose running statistics mean nothing.
            batch: images a batch; None for the recipe's.

        Returns:
            Tensors on the CPU, by parameter name or by the names that `reduce` gives.

        Raises:
            BudgetSpent: it would cost more than `ledger.search_left`.
        """
        count = images if inputs == "ones" else min(images, self.sizes.train)
        size = self.batch_size if batch is None else batch
        if count < 1 or size < 1:
            raise ValueError(f"gradients of {images} images in batches of {size}: use one or more")
        cost = TRAINING if direction is None else HESSIAN * TRAINING
        passes = self._passes
        words = f"images={images} loss={_label(loss)} reduce={_label(reduce)} direction={direction is not None} "
        words += f"inputs={inputs} absolute={absolute} batch_statistics={batch_statistics} batch={batch}"

        def work() -> dict[str, Tensor]:
            passes.afford(count, cost)
            with passes.effective() if absolute else nullcontext():
                network = absolute_copy(self.network) if absolute else self.network
            network.eval()
            with statistics_of_batches(network) if batch_statistics else nullcontext():
                return mean_gradients(
                    network,
                    passes.charged(passes.inputs(inputs == "ones", count, size, absolute), cost),
                    loss or recipe_loss(passes.recipe),
                    nullcontext if absolute else passes.effective,
                    reduce,
                    direction,
                )

        return self._calls.call("gradients", words, work)

    def snapshot(self) -> Snapshot:
        """The weights and statistics as they are now, to `rewind` to; free, and never saved with the run."""
        weights = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        return Snapshot(weights, len(self._calls.removals))

    def rewind(self, to: Snapshot | None = None) -> None:
        """Gives the network the weights that it had before, at the channels and unstructured masks that it has now.

        The optimiser's state is emptied. `surgery.reinitialise` draws new weights instead.

        Args:
            to: what `snapshot` gave; None for the weights that this run's dense network began with, drawn from the
                run's seed (Frankle and Carbin 2019). Rewinding to an early epoch (Renda et al. 2020) takes a method
                that starts `untrained` and makes a snapshot on its way.
        """
        calls, weights = self._calls, self.surgery.weights
        calls.outside_masks("rewinding", "mix up what is restored")

        def work() -> None:
            with calls.clock.stopped():
                (to or Snapshot(self._setup.initial(), 0)).put_into(self.network, calls.removals)
            if weights.active and not weights.straight_through:
                weights.apply_()
            calls.optimiser.state = {}

        calls.call("rewind", "to=initial" if to is None else f"to=snapshot removals={to.removals}", work)

    @property
    def sizes(self) -> SplitSizes:
        """Images of the training and the validation split."""
        return SplitSizes(len(self._passes.data.train), len(self._passes.data.validation))

    @property
    def classes(self) -> int:
        """Number of labels."""
        return self._passes.data.classes

    @property
    def batch_size(self) -> int:
        """Images a training step."""
        return min(self._passes.recipe.batch_size, self.sizes.train)

    @property
    def dense_epochs(self) -> float | None:
        """Passes over the training split that the dense network's recipe has; None where that network came trained."""
        return self._setup.dense_epochs

    def steps(self, share: float) -> float:
        """Optimiser steps that a share of the method's part of the budget pays for now; infinite where time binds."""
        allowance = self._calls.allowance(None, share, self.surgery.macs)
        if allowance.seconds is not None:
            return math.inf
        return steps_of(allowance.images, self.sizes.train, self.batch_size)

    def affordable(self, images: int, calls: int = 1, recalibrate: bool | int = True) -> bool:
        """Whether the search's share still pays for so many evaluations (or probes) of so many images each.

        Args:
            images: of each. A gradient costs as much as three images, a hook's forward as much as one.
            calls: how many.
            recalibrate: with fresh BatchNorm statistics each time, as `evaluate` does; a probe, a gradient and a
                hook's forward do without.
        """
        left = self.ledger.search_left
        return left > 0 and calls * self.price(images, recalibrate) <= left * (1 + 1e-9)

    def price(self, images: int, recalibrate: bool | int = True) -> float:
        """What `evaluate` or `probe` of so many images costs now, in the budget's unit; 0 where time binds."""
        count = images + self._passes.recalibration_images(recalibrate)
        return self.ledger.price(count * self.surgery.macs)

    @contextmanager
    def practice(self, share: float, classes: int | None = None) -> "Iterator[Trial[ConfigT]]":
        """A small run inside this one, for methods that learn how to prune: a trial on a copy of the network.

        The copy is as the network is now, and what becomes of it is forgotten at the end, but for what the method
        learnt. What it costs is charged to this trial. Its ledger has `share` of the method's part of the budget, of
        which all shares inside are shares; its search may take what the track allows of that. It has the target, the
        settings and `rng` of this trial; what it logs is not on the curve.

        Args:
            share: of the method's part of the budget (`ledger.pruning`), at most.
            classes: with the images of the first so many labels only; None for all. The network keeps its outputs.

        Yields:
            The trial to work on until the end of the context; calls of this one are refused meanwhile.

        Raises:
            SurgeryError: this trial has trained or masked its network already (its optimiser could not be resumed).
            UsageError: there are not so many classes.
        """
        calls, weights = self._calls, self.surgery.weights
        if calls.trained or calls.masks_on or weights.active:
            raise SurgeryError("practice comes before the first training and outside masks: begin with it.")
        calls.charge("prune")
        data = self._passes.data
        budget = replace(self.ledger.budget, amount=min(self.ledger.left, share * self.ledger.pruning))
        setup = replace(
            self._setup,
            network=bare_copy(self.network),
            config=self.config,
            history=History(),
            ledger=Ledger(budget, self.ledger.search_share),
            seed=derive_seed(calls.seed, "practice", self._practices),
            data=data if classes is None else data.with_classes(classes),
            journal=calls.journal,
        )
        inner = Trial(setup)
        inner._calls.removals = list(calls.removals)
        self._practices += 1
        with calls.lent_to(inner._calls):
            yield inner

    def training_images(self, count: int | None = None) -> Images:
        """Training images as they are stored, to look at without the network; a copy, on the run's device.

        Args:
            count: the first so many (their order is mixed by class); None for all.

        Returns:
            Pixels, uint8 [N, channels, size, size], not augmented, and labels, int64 [N].
        """
        split = self._passes.data.train
        return Images(*split.at(torch.arange(len(split) if count is None else min(count, len(split)))))

    def log(self, **scalars: float) -> None:
        """Puts scalars on the run's curve, beside what has been spent so far; None for one that cannot be drawn."""
        numbers = {one_line(name, 200): float(value) for name, value in scalars.items()}
        self._calls.mark("search", {name: value if abs(value) <= LARGEST else None for name, value in numbers.items()})

    def widths_of(self, run: str) -> Mapping[str, int]:
        """Widths of the channel groups of a finished run's pruned network, by group name.

        Raises:
            BenchError: there is no such run in the store, or it is of another network.
        """
        recorded = self._setup.recorded_widths(run)
        groups = self.surgery.groups
        if missing := [group.name for group in groups if group.name not in recorded]:
            raise BenchError(
                f"run {run!r} has no widths for {', '.join(missing)}. Name a finished run on this network."
            )
        return {group.name: recorded[group.name] for group in groups}

    def _trained(self, name: str, words: str, work: Callable[[], History], hooks: Sequence[Hook] = ()) -> History:
        """A training call, whose history is added to the trial's."""
        self._state.hooks = hooks
        history = self._calls.call(name, words, work)
        self.history = self.history + history
        return history

    def _follow(self, kept: Mapping[str, Tensor], widths: Mapping[str, int]) -> None:
        """The history of the channels that a removal leaves."""
        self.history = self.history.after_removal(widths, kept)

    def _check_length(self, asked: str, images: int | None, affordable: int) -> None:
        """Refuses a training call of less than a batch: it would do nothing, and nobody would notice."""
        batch = self.batch_size
        wanted = affordable if images is None else images
        if wanted < batch <= self._calls.allowance(None, None, self.surgery.macs).images:
            raise UsageError(
                f"trial.train({asked}) is {wanted} images, less than one batch of {batch}: nothing would be trained. "
                f"Ask for {batch / self.sizes.train:.3g} epochs or more (fewer rounds, a larger share, or a larger "
                "--budget)."
            )


def _label(value: object) -> str:
    """A hook's or loss's name, for the journal."""
    return "" if value is None else getattr(value, "__qualname__", type(value).__qualname__)
