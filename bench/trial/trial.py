"""The trial: all that a method is handed.

Every bit of compute on the network goes through it, is charged to the ledger, is watched by the guard, and can be
journaled. A method reads the network freely and changes it only by the trial's calls.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar as DefaultTypeVar

from bench.data.base import Images
from bench.data.splits import Data
from bench.errors import BudgetSpent, SurgeryError, UsageError
from bench.journal.protocol import Call, Forgetful, Journal
from bench.measure.accuracy import Accuracy, measure_accuracy
from bench.measure.activations import Reduce, reduced_activations
from bench.records.record import LARGEST, Point
from bench.seeding import derive_seed, generator, isolated
from bench.specs.budget import FORWARD, TRAINING, Amount, Ledger, Phase
from bench.specs.target import Target
from bench.specs.track import Recipe
from bench.surgery import Keep, Surgery
from bench.surgery.proof import bare_copy
from bench.surgery.remove import SlicePlan
from bench.text import one_line
from bench.training.batchnorm import batch_statistics as statistics_of_batches
from bench.training.batchnorm import collecting, needs_recalibration, recalibrating
from bench.training.clock import Clock
from bench.training.optimiser import Optimiser
from bench.training.trainer import Allowance, Loss, Penalty, Trainer, autocast, recipe_loss
from bench.trial.gradients import HESSIAN, GradientReduce, absolute_copy, mean_gradients
from bench.trial.guard import Guard
from bench.trial.method import Config, Epoch, History, Hook, Observer
from bench.trial.snapshot import Snapshot, Weights
from bench.trial.state import TrialState
from bench.trial.surgery import TrialSurgery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["SplitSizes", "Trial"]

Value = TypeVar("Value")
ConfigT = DefaultTypeVar("ConfigT", bound=Config, default=Any)
RECALIBRATION_IMAGES = 1024
_SEARCHES = ("evaluate", "probe", "gradients")
_CURVE_POINTS = 20  # validation is looked at no more often than this in one training call


@dataclass(frozen=True)
class SplitSizes:
    """Images that a method may use.

    Attributes:
        train, validation: of each split.
    """

    train: int
    validation: int


@dataclass
class Trial(Generic[ConfigT]):
    """What a method works on and with; `Trial[MyConfig]` where its settings are a `MyConfig`.

    Attributes:
        network: the network; read it freely.
        config: the method's settings.
        target: what to reach.
        device: where the network is.
        rng: a CPU generator that is the method's own; draw from it, never from a global one.
        history: what the observers saw, the dense network's training included.
        surgery: channel groups, masks, `fit` and removal.
        ledger: what may be spent and what was; `ledger.left` and `ledger.search_left` in the budget's unit.
    """

    network: nn.Module
    config: ConfigT
    target: Target
    device: torch.device
    rng: torch.Generator
    history: History
    ledger: Ledger
    recipe: Recipe = field(repr=False)
    precision: str = field(repr=False)
    seed: int = field(repr=False)
    data: Data = field(repr=False)
    engine: Surgery = field(repr=False)
    observers: Sequence[Observer] = field(repr=False)
    reinitialise: Callable[[nn.Module], None] = field(repr=False)
    recorded_widths: Callable[[str], Mapping[str, int]] = field(repr=False)
    initial: Callable[[], Weights] = field(repr=False)
    journal: Journal = field(default_factory=Forgetful, repr=False)
    report: Callable[[str, float], None] = field(default=lambda _phase, _share: None, repr=False)

    def __post_init__(self) -> None:
        self.curve: list[Point] = []
        self.guard = Guard(self.network)
        self.surgery = TrialSurgery(self)
        self.optimiser = Optimiser()
        self.clock = Clock(self.device)
        self.state = TrialState(self)
        self._calls = 0
        self.trained_calls = 0
        self.epochs_done = 0.0
        self.masks_on = 0
        self.practices = 0
        self.removals: list[SlicePlan] = []
        self._in_call = False

    # -- what a method calls ------------------------------------------------------------------------------------

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
            Loss and observations, epoch by epoch, of this call.

        Raises:
            UsageError: what is asked for is less than one batch of images, though the budget has more.
        """
        if (epochs is None) == (share is None):
            raise ValueError("train takes either epochs or share")
        if not 0 <= schedule[0] < schedule[1] <= 1:
            raise ValueError(f"schedule {schedule}: give where it begins and ends, 0 <= begin < end <= 1")
        if self.masks_on:
            raise SurgeryError("training inside surgery.masked() would not keep the mask: leave it, or remove first.")
        words = f"epochs={epochs} share={share} loss={_label(loss)} hooks={[_label(hook) for hook in hooks]}"
        if penalty is not None:
            words += f" penalty={_label(penalty)}"
        if schedule != (0, 1):
            words += f" schedule={schedule}"
        allowance = self._allowance(epochs, share)
        self._check_length(epochs, share, allowance)
        self.state.hooks = hooks
        history = self._call("train", words, lambda: self._train("prune", allowance, loss, hooks, schedule, penalty))
        self.history = self.history + history
        return history

    def evaluate(self, images: int | None = None, recalibrate: bool = True) -> Accuracy:
        """Accuracy on validation images; charged 1 x MACs an image to the search's share.

        Args:
            images: the first so many validation images (their order is mixed by class); None for all.
            recalibrate: collect fresh BatchNorm statistics on training images first (the same images for every
                method), and put the old ones back after. Charged like an evaluation.

        Raises:
            BudgetSpent: it would cost more than `ledger.search_left`.
        """
        count = len(self.data.validation) if images is None else min(images, len(self.data.validation))

        def work() -> Accuracy:
            self._afford((count + (self._recalibration_images() if recalibrate else 0)) * self.surgery.macs)
            with self._effective(), self._recalibrated(recalibrate), autocast(self.device, self.precision):
                batches = self.data.validation_batches(images=count)
                return measure_accuracy(self.network, self._charged(batches), self.data.classes)

        return self._call("evaluate", f"images={count} recalibrate={recalibrate}", work)

    def probe(
        self,
        reduce: Reduce,
        images: int,
        at: Sequence[str] | None = None,
        recalibrate: bool = False,
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
        count = min(images, len(self.data.train))

        def work() -> dict[str, Tensor]:
            self._afford((count + (self._recalibration_images() if recalibrate else 0)) * self.surgery.macs)
            self.network.eval()
            with self._effective(), self._recalibrated(recalibrate):
                batches = self.data.plain_training_batches(images=count)
                return reduced_activations(self.network, names, batches, self._forward, reduce)

        return self._call("probe", f"images={count} at={names} recalibrate={recalibrate}", work)

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
        count = images if inputs == "ones" else min(images, len(self.data.train))
        size = self.batch_size if batch is None else batch
        if count < 1 or size < 1:
            raise ValueError(f"gradients of {images} images in batches of {size}: use one or more")
        gradients = 1 if direction is None else HESSIAN
        words = f"images={images} loss={_label(loss)} reduce={_label(reduce)} direction={direction is not None} "
        words += f"inputs={inputs} absolute={absolute} batch_statistics={batch_statistics} batch={batch}"

        def work() -> dict[str, Tensor]:
            self._afford(count * gradients * TRAINING * self.surgery.macs)
            with self._effective() if absolute else nullcontext():
                network = absolute_copy(self.network) if absolute else self.network
            network.eval()
            with statistics_of_batches(network) if batch_statistics else nullcontext():
                return mean_gradients(
                    network,
                    self._charged_gradients(self._inputs(inputs, count, size, absolute), gradients),
                    loss or recipe_loss(self.recipe),
                    nullcontext if absolute else self._effective,
                    reduce,
                    direction,
                )

        return self._call("gradients", words, work)

    def snapshot(self) -> Snapshot:
        """The weights and statistics as they are now, to `rewind` to; free, and never saved with the run."""
        return Snapshot({name: t.detach().clone() for name, t in self.network.state_dict().items()}, len(self.removals))

    def rewind(self, to: Snapshot | None = None) -> None:
        """Gives the network the weights that it had before, at the channels and unstructured masks that it has now.

        The optimiser's state is emptied. `surgery.reinitialise` draws new weights instead.

        Args:
            to: what `snapshot` gave; None for the weights that this run's dense network began with, drawn from the
                run's seed (Frankle and Carbin 2019). Rewinding to an early epoch (Renda et al. 2020) takes a method
                that starts `untrained` and makes a snapshot on its way.
        """
        if self.masks_on:
            raise SurgeryError("rewinding inside surgery.masked() would mix up what is restored: leave it first.")

        def work() -> None:
            with self.clock.stopped():
                (to or Snapshot(self.initial(), 0)).put_into(self.network, self.removals)
            weights = self.surgery.weights
            if weights.active and not weights.straight_through:
                weights.apply_()
            self.optimiser.state = {}

        self._call("rewind", "to=initial" if to is None else f"to=snapshot removals={to.removals}", work)

    @property
    def sizes(self) -> SplitSizes:
        """Images of the training and the validation split."""
        return SplitSizes(len(self.data.train), len(self.data.validation))

    @property
    def classes(self) -> int:
        """Number of labels."""
        return self.data.classes

    @property
    def batch_size(self) -> int:
        """Images a training step."""
        return min(self.recipe.batch_size, len(self.data.train))

    def affordable(self, images: int, calls: int = 1, recalibrate: bool = True) -> bool:
        """Whether the search's share still pays for so many evaluations (or probes) of so many images each.

        Args:
            images: of each. A gradient costs as much as three images, a hook's forward as much as one.
            calls: how many.
            recalibrate: with fresh BatchNorm statistics each time, as `evaluate` does; a probe, a gradient and a
                hook's forward do without.
        """
        left = self.ledger.search_left
        return left > 0 and calls * self.price(images, recalibrate) <= left * (1 + 1e-9)

    def price(self, images: int, recalibrate: bool = True) -> float:
        """What `evaluate` or `probe` of so many images costs now, in the budget's unit; 0 where time binds."""
        count = images + (self._recalibration_images() if recalibrate else 0)
        return self.ledger.price(count * self.surgery.macs)

    @contextmanager
    def practice(self, share: float, classes: int | None = None) -> "Iterator[Trial]":
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
        if self.trained_calls or self.masks_on or self.surgery.weights.active:
            raise SurgeryError("practice comes before the first training and outside masks: begin with it.")
        self._charge("prune")
        data = self.data if classes is None else self.data.with_classes(classes)
        budget = replace(self.ledger.budget, amount=min(self.ledger.left, share * self.ledger.pruning))
        network = bare_copy(self.network)
        inner = replace(
            self,
            network=network,
            history=History(),
            ledger=Ledger(budget, self.ledger.search_share),
            seed=derive_seed(self.seed, "practice", self.practices),
            data=data,
            engine=self.engine.for_copy(network),
        )
        inner._calls, self._in_call = self._calls, True
        inner.removals = list(self.removals)
        inner.guard.violations = self.guard.violations
        self.practices += 1
        try:
            inner.begin()
            yield inner
        finally:
            try:
                inner.settle()
            finally:
                self._calls, self._in_call = inner._calls, False
                for phase, amount in inner.ledger.phases.items():
                    self.ledger.charge(phase, amount)
                self.clock.lap()

    def training_images(self, count: int | None = None) -> Images:
        """Training images as they are stored, to look at without the network; a copy, on the run's device.

        Args:
            count: the first so many (their order is mixed by class); None for all.

        Returns:
            Pixels, uint8 [N, channels, size, size], not augmented, and labels, int64 [N].
        """
        split = self.data.train
        return Images(*split.at(torch.arange(len(split) if count is None else min(count, len(split)))))

    def log(self, **scalars: float) -> None:
        """Puts scalars on the run's curve, beside what has been spent so far; None for one that cannot be drawn."""
        numbers = {one_line(name, 200): float(value) for name, value in scalars.items()}
        values = {name: value if abs(value) <= LARGEST else None for name, value in numbers.items()}
        self.curve.append(Point(phase="search", epoch=self.epochs_done, spent=self.ledger.spent, values=values))

    def widths_of(self, run: str) -> Mapping[str, int]:
        """Widths of the channel groups of a finished run's pruned network, by group name.

        Raises:
            StoreError: there is no such run in the store.
        """
        return self.recorded_widths(run)

    # -- what the harness calls ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts the clock and the guard."""
        self.clock.lap()
        self.guard.arm()

    def settle(self) -> None:
        """Charges the time since the last call to the method, and ends the guard's watch."""
        self._charge("prune")
        self.guard.disarm()

    def finetune(self) -> None:
        """The track's last phase: what is left of the budget, the same for all methods."""
        allowance = self._allowance(None, None)
        self.state.hooks = ()
        self.history = self.history + self._call("finetune", "", lambda: self._train("finetune", allowance))

    def remove_channels(self, keep: Keep) -> None:
        """`surgery.remove`, as one call of the trial."""
        if self.masks_on:
            raise SurgeryError("removing inside surgery.masked() would mix up what is restored: leave it first.")
        words = " ".join(f"{name}={_indices(kept)}" for name, kept in sorted(keep.items()))

        def work() -> None:
            with self.clock.stopped():
                removal = self.engine.remove(keep)
                self.optimiser.slice(removal.plan.slice_state)
                self.removals.append(removal.plan)

        self._call("remove", words, work)
        values: dict[str, float | None] = {"macs": self.surgery.macs, "params": self.surgery.params}
        self.curve.append(Point(phase="prune", epoch=self.epochs_done, spent=self.ledger.spent, values=values))

    def reinitialise_network(self) -> None:
        """`surgery.reinitialise`, as one call of the trial."""

        def work() -> None:
            self.reinitialise(self.network)
            self.optimiser.state = {}

        self._call("reinitialise", "", work)

    # -- inside -------------------------------------------------------------------------------------------------

    def _call(self, name: str, arguments: str, work: Callable[[], Value]) -> Value:
        if self._in_call:
            raise RuntimeError(f"trial.{name} was called from inside another call of the trial, or while it practises")
        self._charge("prune")
        call = Call(self._calls, name, arguments)
        self._calls += 1
        self._in_call = True
        try:
            with self.guard.opened(), isolated(self.seed, "call", call.index):
                return self.journal.call(call, self.state, work)
        finally:
            self._in_call = False
            self._charge("finetune" if name == "finetune" else "search" if name in _SEARCHES else "prune")

    def _charge(self, phase: Phase, images: int = 0, passes: int = 0, steps: int = 0) -> None:
        amount = Amount(
            steps=steps,
            images_forward=images if passes == FORWARD else 0,
            images_trained=images * passes // TRAINING if passes >= TRAINING else 0,
            macs=images * passes * (self.surgery.macs if images else 0),
            device_seconds=self.clock.lap(wait=not steps),
        )
        self.ledger.charge(phase, amount)

    def _afford(self, macs: int) -> None:
        ledger, unit = self.ledger, self.ledger.budget.unit
        cost = ledger.price(macs)
        if cost > ledger.search_left or ledger.search_left <= 0:
            raise BudgetSpent(
                f"the search's share of the budget is spent: this call costs {cost:.4g} {unit}, and "
                f"{ledger.search_left:.4g} are left. Look at trial.ledger.search_left before each evaluation, or "
                "evaluate fewer images."
            )

    def _allowance(self, epochs: float | None, share: float | None) -> Allowance:
        """Images (and seconds) of one training call: what was asked for, no more than what is left."""
        ledger, budget = self.ledger, self.ledger.budget
        part = ledger.left if share is None else min(ledger.left, share * ledger.pruning)
        asked = 2**62 if epochs is None else round(epochs * len(self.data.train))
        if budget.unit == "device_seconds":
            return Allowance(asked, part)
        affordable = int(part * budget.dense_epoch_macs * (1 + 1e-12)) // (TRAINING * self.surgery.macs)
        return Allowance(min(asked, affordable))

    def _check_length(self, epochs: float | None, share: float | None, allowance: Allowance) -> None:
        """Refuses a training call of less than a batch: it would do nothing, and nobody would notice."""
        wanted = f"epochs={epochs}" if share is None else f"share={share}"
        batch, train = self.batch_size, len(self.data.train)
        asked = round(epochs * train) if epochs is not None else allowance.images
        affordable = self._allowance(None, None).images
        if asked < batch <= affordable:
            raise UsageError(
                f"trial.train({wanted}) is {asked} images, less than one batch of {batch}: nothing would be trained. "
                f"Ask for {batch / train:.3g} epochs or more (fewer rounds, a larger share, or a larger --budget)."
            )

    def _train(
        self,
        phase: Phase,
        allowance: Allowance,
        loss: Loss | None = None,
        hooks: Sequence[Hook] = (),
        schedule: tuple[float, float] = (0.0, 1.0),
        penalty: Penalty | None = None,
    ) -> History:
        if allowance.images < self.batch_size or (allowance.seconds is not None and allowance.seconds <= 0):
            return History()
        total = allowance.images / len(self.data.train)
        every = max(1, int(min(total, 1e6) / _CURVE_POINTS)) if allowance.seconds is None else 1
        begun = self.ledger.spent
        wanted = max(self.ledger.left, 1e-12) if allowance.seconds is None else allowance.seconds

        def stepped(images: int) -> None:
            self._charge(phase, images, TRAINING, steps=1)

        def ended(epoch: Epoch) -> None:
            done = self.epochs_done + epoch.epochs
            last = epoch.epochs >= total * (1 - 1e-9)
            values: dict[str, float | None] = {
                "train_loss": epoch.train_loss,
                "learning_rate": epoch.learning_rate,
                "macs": self.surgery.macs,
            }
            with self.clock.stopped():
                if last or round(epoch.epochs) % every == 0:
                    values["top1_val"] = self._validate().top1
                self.report(phase, min(1.0, (self.ledger.spent - begun) / wanted))
            self.curve.append(Point(phase=phase, epoch=done, spent=self.ledger.spent, values=values))

        trainer = Trainer(
            self.network,
            self.data,
            self.recipe,
            self.precision,
            self.optimiser,
            groups=self.surgery.groups if self.observers else (),
            weights=self.surgery.weights,
            forward=self._hook_forward,
            gradients=self._hook_gradients,
            on_step=stepped,
            on_epoch=ended,
        )
        order = generator(self.seed, "train", self.trained_calls)
        self.trained_calls += 1
        saver = self.state.saver(self.journal.checkpoint())
        history = trainer.train(allowance, order, loss, hooks, self.observers, saver, schedule, penalty)
        self.epochs_done += history.epochs[-1].epochs if history.epochs else 0.0
        return history

    def _validate(self) -> Accuracy:
        """Validation accuracy for the curve: the harness's own look, never charged."""
        with self._effective(), autocast(self.device, self.precision):
            batches = self.data.validation_batches()
            return measure_accuracy(self.network, batches, self.data.classes)

    def _effective(self) -> AbstractContextManager[None]:
        """The network with its unstructured masks in force."""
        weights = self.surgery.weights
        return weights.forward_weights(weights.straight_through) if weights.active else nullcontext()

    def _forward(self, images: Tensor) -> Tensor:
        """Outputs in evaluation mode, float32 [N, classes], without gradient; charged as search."""
        with torch.no_grad(), autocast(self.device, self.precision):
            outputs: Tensor = self.network(images)
        self._charge("search", len(images), FORWARD)
        return outputs.float()

    def _charged(self, batches: "Iterable[tuple[Tensor, Tensor]]") -> "Iterator[tuple[Tensor, Tensor]]":
        """Batches that go forward once each: charged as search as soon as the next one is asked for."""
        for images, labels in batches:
            yield images, labels
            self._charge("search", len(labels), FORWARD)

    def _hook_forward(self, images: Tensor) -> Tensor:
        self._afford(len(images) * self.surgery.macs)
        self.network.eval()
        with self._effective():
            outputs = self._forward(images)
        self.network.train()
        return outputs

    def _hook_gradients(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self._afford(len(images) * TRAINING * self.surgery.macs)
        batches = self._charged_gradients([(images, labels)], 1)
        with statistics_of_batches(self.network):
            found = mean_gradients(self.network, batches, recipe_loss(self.recipe), self._effective)
        self.network.train()
        return found

    def _inputs(self, inputs: str, count: int, batch: int, double: bool) -> "Iterator[tuple[Tensor, Tensor]]":
        """Images and labels for gradients."""
        if inputs == "train":
            batches: Iterable[tuple[Tensor, Tensor]] = self.data.plain_training_batches(count, batch)
        else:
            ones = torch.ones(count, *self.data.shape, device=self.device)
            parts = ones.to(memory_format=torch.channels_last).split(batch)
            batches = [(part, torch.zeros(len(part), dtype=torch.long, device=self.device)) for part in parts]
        return ((images.double() if double else images, labels) for images, labels in batches)

    def _charged_gradients(
        self, batches: "Iterable[tuple[Tensor, Tensor]]", gradients: int
    ) -> "Iterator[tuple[Tensor, Tensor]]":
        for images, labels in batches:
            yield images, labels
            self._charge("search", len(labels), gradients * TRAINING)

    def _recalibration_images(self) -> int:
        return min(RECALIBRATION_IMAGES, len(self.data.train)) if needs_recalibration(self.network) else 0

    @contextmanager
    def _recalibrated(self, wanted: bool) -> "Iterator[None]":
        count = self._recalibration_images() if wanted else 0
        if not count:
            yield
            return
        with recalibrating(self.network):
            with collecting(self.network):
                for images, _ in self.data.plain_training_batches(images=count):
                    self._forward(images)
            yield


def _label(value: object) -> str:
    """A hook's or loss's name, for the journal."""
    return "" if value is None else getattr(value, "__qualname__", type(value).__qualname__)


def _indices(kept: Tensor) -> list[int]:
    return (kept.nonzero().flatten() if kept.dtype == torch.bool else kept).tolist()
