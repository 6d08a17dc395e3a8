"""`id-rl`: prunes while it trains, by an agent that is told the intrinsic dimension of the data (Hadi and Won)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator
from scipy.stats import spearmanr
from torch import Tensor

from bench import BudgetSpent, ChannelGroup, Config, Images, Method, Trial, rl

from ._dimension import levina_bickel, neighbour_distances, two_nn
from ._maps import channel_scores

_POWER = 2.0  # of the activations in an attention map (Zagoruyko and Komodakis 2017)
_TRAINED = 0.8  # of a practice's budget; looks, also the one at its end, are paid from the rest
_DIMENSION = 50.0  # what dimensions are divided by: above those of image sets (Pope et al. 2021: ImageNet 26 to 43)
_REACH = 0.5  # share of its channels that a group keeps in a sweep, where the target asks for more than the agent


class IDRLConfig(Config):
    """Settings of `id-rl`."""

    agent: Literal["online", "pretrained", "uniform"] = Field(
        "online", description="pretrained: learns on subsets of the classes first, charged; uniform: actions by lot"
    )
    fractions: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.05, 0.1, 0.2), min_length=1, description="shares of a layer's filters that may go at once, beside none"
    )
    decisions: int = Field(12, ge=1, description="sweeps over the layers, evenly spaced")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the training before the first sweep, at least")
    first: float = Field(1.0, ge=0, description="epochs before the first sweep, at least")
    last: float = Field(0.6, gt=0, lt=1, description="share of the training before the last sweep")
    reward: Literal["accuracy", "compression"] = Field(
        "accuracy", description="accuracy: it must hold; compression: it is rewarded in proportion to accuracy"
    )
    strength: float = Field(1.0, ge=0, description="weight of the removed share in the reward (beta)")
    tolerance: float = Field(0.02, ge=0, description="accuracy that may be lost against the reference (tau)")
    reference: Literal["before", "unpruned"] = Field(
        "before", description="what a sweep is compared with: the accuracy before it; a training without pruning"
    )
    gamma: float = Field(0.9, ge=0, le=1, description="discount from one layer's decision to the next")
    epsilon: float = Field(0.05, ge=0, le=1, description="share of random actions in the end; 1 at first")
    explore: float = Field(0.7, gt=0, le=1, description="share of all sweeps over which random actions become fewer")
    updates: int = Field(50, ge=1, description="gradient steps of the agent a sweep")
    subsets: tuple[int, ...] = Field((10, 5, 2), description="agent pretrained: first so many classes, in this order")
    practice: float = Field(0.3, gt=0, lt=1, description="agent pretrained: share of the budget for all subsets")
    unpruned: float = Field(0.25, gt=0, lt=1, description="reference unpruned: share of each run's budget for it")
    k: int = Field(20, ge=2, description="neighbours of the dimension's estimate")
    images: int = Field(1000, ge=2, description="images at which it is estimated, with neighbours among all")
    probe: int = Field(128, ge=1, description="images of the attention ranking, at most")

    @model_validator(mode="after")
    def _sweeps_follow_the_warmup(self) -> "IDRLConfig":
        if self.last <= self.warmup:
            raise ValueError(f"last={self.last} is not after warmup={self.warmup}: leave room for the sweeps")
        return self


class IDRL(Method):
    """An agent removes filters while the network trains from scratch; it knows the data's intrinsic dimension.

    Source: Hadi, Won, "Deep Convolutional Neural Network Compression based on the Intrinsic Dimension of the Training
    Data", 2024 (doi 10.1145/3599957.3606236). Its text was not at hand. What its abstract says is kept: pruning during
    training, the dimension in the agent's state, two rankings of filters, and that the agent decides how many each
    layer loses. The rest follows the authors' earlier agent (Khatri, Won, "Kernel-controlled DQN based CNN Pruning for
    Model Compression and Acceleration", RACS 2020), or is ours: a DQN whose actions are a ranking and a fraction,
    sweeps (walks of `rl.PruningEnv`) at even distances with one reward for each, none in the first epoch, when filters
    are still noise (`first`), and no fine-tuning after the training. Attention is that of activations, which ranks the
    network as it is.

    Deviations: a sweep is judged by the accuracy right after it against that before it, where the earlier agent seems
    to compare with an unpruned training at the same epoch (`reference=unpruned`, which spends a part of the budget on
    one); against the best accuracy so far the progress of training would count as success of pruning. Filters do not
    come back. A target with a size is ours: each sweep is bounded so that the target stays within reach, and the last
    one ends at it; at `auto` the agent decides alone. Within one run the dimension is a constant and no signal
    (`agent=online`), so that the paper's thesis needs `agent=pretrained`, which practises on the first 10, 5 and 2
    classes before the run, whose dimensions it sees, all estimated from one number of images. What learning adds is
    either's result minus that of `agent=uniform`.
    """

    name = "id-rl"
    reference = "Hadi and Won 2024"
    starts = "untrained"
    finetunes = "itself"
    targets = "any"
    Config = IDRLConfig

    def prune(self, trial: Trial[IDRLConfig]) -> None:
        """Estimates the dimension, practises where that is asked for, then trains and prunes."""
        config, agents = trial.config, list[Any]()
        if trial.target.has_size:
            trial.surgery.fit()  # a target that cannot be met is refused before any work
        # 1. the intrinsic dimension of the training split, by two estimators
        images = trial.training_images()
        distances = neighbour_distances(images.pixels, min(config.k, len(images.labels) - 1), config.images)
        dimension = levina_bickel(distances)
        trial.log(dimension=dimension, dimension_two_nn=two_nn(distances))
        seen = subset_dimensions(images, config) if config.agent == "pretrained" else {}
        subsets = [classes for classes in config.subsets if classes in seen]
        trainings = 1 + len(subsets)
        # 2. practice on subsets of the classes
        for classes in subsets:
            with trial.practice(config.practice / len(subsets), classes) as practice:
                self.train(practice, agents, trainings, Sweeps(practice, seen[classes], _TRAINED))
        # 3. the run itself, whose last part takes all that is left
        part = 1 - config.practice if subsets else 1.0
        self.train(trial, agents, trainings, Sweeps(trial, seen.get(trial.classes, dimension), part, to_the_end=True))

    def train(self, trial: Trial[IDRLConfig], agents: list[Any], trainings: int, sweeps: "Sweeps") -> None:
        """One training with sweeps in it; the agent is the one that has practised, if there is one.

        Args:
            trial: the run's, or a practice's.
            agents: the agent that has practised; empty before.
            trainings: how many there are in all, over which random actions become fewer.
            sweeps: the training.
        """
        config, uniform = trial.config, trial.config.agent == "uniform"
        exploring = round(config.explore * config.decisions * trainings)

        def make(env: "rl.PruningEnv", seed: int) -> "rl.Agent":
            if not agents:
                settings = (config.gamma, config.epsilon, exploring, config.updates)
                agents.append(rl.UniformAgent(env, seed) if uniform else rl.dqn(env, seed, *settings))
            elif not uniform:
                agents[0].set_env(env)
            return agents[0]

        sweeps.begin()
        explored = 0 if uniform else exploring - config.decisions * (trainings - 1)
        rl.learn(sweeps.env, make, len(sweeps.points), trial.rng, explored)
        if len(found := [reward for _, reward in sweeps.env.walks]) > 2:
            trial.log(**{"search/rank_correlation": spearmanr(found, sweeps.judged[: len(found)]).statistic})


@dataclass(eq=False)
class Sweeps:
    """One training of an `id-rl` run with its sweeps: walks whose rewards remove filters and let the training go on.

    Attributes:
        trial: whose network is trained.
        dimension: intrinsic dimension of the training images.
        part: share of the method's part of the budget for it, and for one without pruning where that is the reference.
        to_the_end: the last part of the training takes all that is left, and nobody looks at its end.
        points: shares of the training at which sweeps are made; none for those of the settings.
        env: a walk is a sweep.
        judged: the accuracy that each sweep was judged by.
    """

    trial: Trial[IDRLConfig]
    dimension: float
    part: float
    to_the_end: bool = False
    points: Sequence[float] = ()

    def __post_init__(self) -> None:
        trial, config = self.trial, self.trial.config
        self.config, self.done, self.accuracy, self.change = config, 0, 0.0, 0.0
        self.judged, self.reference, self.dense = list[float](), list[float](), filters(trial.surgery.groups)
        if not self.points:
            beside = config.unpruned * self.part if config.reference == "unpruned" else 0.0
            self.part -= beside
            self.points = sweep_points(trial, self.part, min(self.part, beside * _TRAINED or 1.0))
            if beside:
                with trial.practice(beside) as unpruned:
                    self.reference = Sweeps(unpruned, self.dimension, _TRAINED, points=self.points).accuracies()
        self.parts = [0.0, *self.points, 1.0]
        self.images = trial.sizes.validation  # four times a sweep at most: judged, recalibrated, looked at, probed
        while self.images > 1 and not trial.affordable(self.images, 4 * len(self.points) + 1, recalibrate=False):
            self.images //= 2
        # removing nothing needs no ranking
        self.actions = [("l1", 0.0), *product(("l1", "attention"), sorted(config.fractions))]
        levels, sized = [1 - fraction for _, fraction in self.actions], trial.target.has_size
        bounds: dict[str, Any] = {"lower": _REACH, "bounded": sized, "sizes": self.sizes}
        self.env = rl.PruningEnv(trial, self.reward, levels=levels, ranking=self.ranking, extra=self.state, **bounds)

    def state(self, group: ChannelGroup) -> list[float]:
        """What the agent sees beside the layer: size, accuracy, its change, progress of the training, dimension."""
        size, progress = self.trial.surgery.ratio(), self.parts[self.done + 1]
        return [size, self.accuracy, (1 + self.change) / 2, progress, self.dimension / _DIMENSION]

    def sizes(self) -> tuple[float, float]:
        """Where the next sweep may end: not below the target, nor above what falls to it geometrically."""
        target = self.trial.target.ratio or 0.0
        return target, target ** min(1.0, (self.done + 1) / len(self.points))

    def ranking(self, chosen: Mapping[str, float]) -> dict[str, Tensor]:
        """What each layer is ranked by; by norms where the search's share does not pay for a probe any more."""
        scores = {group.name: group.norms().detach().cpu() for group in self.trial.surgery.groups}
        asked = [name for name, action in chosen.items() if self.actions[round(action)][0] == "attention"]
        if asked and self.trial.affordable(1, recalibrate=False):
            found = channel_scores(self.trial, attention, min(self.config.probe, self.images))
            scores |= {name: found[name].cpu() for name in asked}
        return scores

    def reward(self, walk: "rl.Walk") -> float:
        """Removes what a sweep has chosen, lets the training go on to the next, and says what the sweep was worth."""
        config, groups = self.config, self.trial.surgery.groups
        # 1. filters go
        before, number, last = self.accuracy, self.done, self.done + 1 == len(self.points)
        if keep := {g.name: walk.keep[g.name] for g in groups if len(walk.keep[g.name]) < g.width}:
            self.trial.surgery.remove(keep)
        # 2. what that cost: the accuracy at once, before training goes on, or after it
        self.judged.append(self.accuracy_now(recalibrate=self.images))
        self.done += 1
        self.train(self.done)
        if not (last and self.to_the_end):
            self.look()
        if config.reference == "unpruned":
            if last and self.to_the_end:
                raise BudgetSpent("nothing is left to look at the end of the training")
            before, self.judged[-1] = self.reference[number], self.accuracy
        # 3. one reward for all of its decisions
        removed = 1 - filters(self.trial.surgery.groups) / self.dense
        return reward_of(config, self.judged[-1], before, removed)

    def begin(self) -> None:
        """The training before the first sweep."""
        self.train(0)
        self.look()

    def accuracies(self) -> list[float]:
        """The same training without sweeps: the accuracy at the end of each part that follows one."""
        self.begin()
        seen = []
        for number in range(1, len(self.parts) - 1):
            self.train(number)
            self.look()
            seen.append(self.accuracy)
        return seen

    def train(self, number: int) -> None:
        """The part of the training after so many sweeps, in the learning rate's schedule as in the budget."""
        begin, end = self.parts[number : number + 2]
        if end > begin:
            share = 1.0 if end == 1 and self.to_the_end else (end - begin) * self.part
            self.trial.train(share=share, schedule=(begin, end))

    def look(self) -> None:
        """Takes down the accuracy now, and its change."""
        now = self.accuracy_now(recalibrate=False)  # BatchNorm's statistics are of the training that has just ended
        self.accuracy, self.change = now, now - self.accuracy

    def accuracy_now(self, recalibrate: bool | int) -> float:
        """On validation images; as it was where the search's share does not pay for looking any more."""
        try:
            return self.trial.evaluate(self.images, recalibrate=recalibrate).top1
        except BudgetSpent:
            return self.accuracy


def reward_of(config: IDRLConfig, accuracy: float, reference: float, removed: float) -> float:
    """What a sweep was worth, by the share of all filters that is gone and two accuracies.

    `accuracy`: (acc / ref) (1 + beta removed) where acc >= ref - tau, else acc - (ref - tau). `compression`: removed
    (acc / ref). Two flavours are known of the authors' earlier agent, accuracy-ensured and compression-ensured
    considering accuracy (Khatri and Won 2020); their formulas are not.
    """
    relative, missing = accuracy / max(reference, 1e-6), reference - config.tolerance - accuracy
    if config.reward == "compression":
        return removed * relative
    return -missing if missing > 0 else relative * (1 + config.strength * removed)


def attention(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each channel's part in its layer's attention: the sum over places of A^p, by the layer's norm of these.

    Activation-based attention is from Zagoruyko, Komodakis, "Paying More Attention to Attention", ICLR 2017, where a
    layer's map is the sum over channels of |A|^p, place by place. A is what a channel passes on, after ReLU.
    """
    energies = {name: maps.float().relu().pow(_POWER).sum((2, 3)).mean(0) for name, maps in seen.items()}
    return {name: energy / energy.norm().clamp(min=1e-12) for name, energy in energies.items()}


def filters(groups: Sequence[ChannelGroup]) -> int:
    """How many there are, in all layers together."""
    return sum(group.width * len(group.layers) for group in groups)


def sweep_points(trial: Trial[IDRLConfig], part: float, shortest: float) -> list[float]:
    """Shares of the training at which sweeps are made, evenly spaced; the last one is at `last`.

    The first is after the warm-up and after `first` epochs, where filters are noise no more. There are fewer sweeps
    than `decisions` where the training between two of them would be less than a batch.

    Args:
        trial: whose budget pays.
        part: share of the method's part of the budget that the training takes.
        shortest: of the shares of trainings with these points.
    """
    config, begin = trial.config, trial.config.warmup
    if trial.ledger.budget.unit == "dense_epochs" and config.first:
        begin = max(begin, config.first / max(part * trial.ledger.pruning, 1e-9))
    if begin > config.last or (begin and trial.steps(begin * shortest) < 1):
        begin = config.last
    count = config.decisions
    while count > 1 and trial.steps((config.last - begin) / (count - 1) * shortest) < 1:
        count -= 1
    return np.linspace(config.last, begin, count)[::-1].tolist()


def subset_dimensions(images: Images, config: IDRLConfig) -> dict[int, float]:
    """The intrinsic dimension of the images of the first so many classes, by that number; of all classes, too.

    All are estimated from as many images as the smallest of these sets has, since estimates rise with the number.
    Subsets of more classes than there are, and those of no more images than `k`, are left out.
    """
    every = int(images.labels.max()) + 1
    sizes = {classes: int((images.labels < classes).sum()) for classes in {*config.subsets, every} if classes <= every}
    sizes = {classes: size for classes, size in sizes.items() if size > config.k}
    found = {}
    for classes in sizes:
        pixels = images.pixels[images.labels < classes][: min(sizes.values())]
        found[classes] = levina_bickel(neighbour_distances(pixels, config.k, config.images))
    return found
