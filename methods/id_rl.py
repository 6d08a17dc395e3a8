"""`id-rl`: prunes while it trains, by an agent that is told the intrinsic dimension of the data (Hadi and Won)."""

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator

from bench import Config, Images, Method, Trial

from ._dimension import levina_bickel, neighbour_distances, two_nn
from ._dqn import Agent
from ._sweeps import FEATURES, TRAINED, TrainAndPrune, actions_of, filters_left, sweep_points


class IDRLConfig(Config):
    """Settings of `id-rl`."""

    agent: Literal["online", "pretrained", "uniform"] = Field(
        "online",
        description="online: learns within the run; pretrained: first on subsets of the classes, charged; "
        "uniform: actions by lot, what an agent must beat",
    )
    ranking: Literal["both", "l1", "attention"] = Field("both", description="rankings that the agent may choose from")
    fractions: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.05, 0.1, 0.2),
        min_length=1,
        description="shares of a layer's filters that may go at once, beside none",
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
    reference: Literal["before", "best", "unpruned"] = Field(
        "before",
        description="what a sweep is compared with. before: itself, the accuracy before and right after it; best: of "
        "this run so far; unpruned: a training without pruning, at the same point of it",
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
    power: float = Field(2.0, gt=0, description="exponent of the activations in the attention ranking (p)")

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
    sweeps over all layers at even distances with one reward for each, none in the first epoch, when filters are still
    noise (`first`), and no fine-tuning after the training. Attention is that of activations, which ranks the network as
    it is.

    Deviations: a sweep is judged by the accuracy right after it against that before it, where the earlier agent seems
    to compare with an unpruned training at the same epoch (`reference=unpruned`, which spends a part of the budget on
    one). Against the best accuracy of this run so far (`reference=best`) the progress of training counts as success of
    pruning. Filters do not come back. A target with a size is ours: actions are bounded so that it stays within reach,
    and the last sweep ends at it; at `auto` the agent decides alone. Within one run the dimension is a constant and no
    signal (`agent=online`), so that the paper's thesis needs `agent=pretrained`; what learning adds is either's result
    minus that of `agent=uniform`; `agent=pretrained` practises on the first 10, 5 and 2 classes before the run, whose
    dimensions it sees, all estimated from one number of images.
    """

    name = "id-rl"
    reference = "Hadi and Won 2024"
    starts = "untrained"
    finetunes = "itself"
    targets = "any"
    Config = IDRLConfig

    def prune(self, trial: Trial[IDRLConfig]) -> None:
        """Estimates the dimension, practises where that is asked for, then trains and prunes."""
        config: IDRLConfig = trial.config
        dense = trial.surgery.groups
        if trial.target.has_size:
            trial.surgery.fit()  # a target that cannot be met is refused before any work
        # 1. the intrinsic dimension of the training split, by two estimators
        images = trial.training_images()
        k = min(config.k, len(images.labels) - 1)
        distances = neighbour_distances(images.pixels, k, config.images)
        dimension, crossed = levina_bickel(distances), two_nn(distances)
        seen = subset_dimensions(images, config) if config.agent == "pretrained" else {}
        subsets = [classes for classes in config.subsets if classes in seen]
        agent = Agent(
            FEATURES,
            len(actions_of(config)),
            seed=int(torch.randint(2**31, (1,), generator=trial.rng)),
            gamma=config.gamma,
            epsilon=1.0 if config.agent == "uniform" else config.epsilon,
            exploring=config.explore * config.decisions * (1 + len(subsets)),
        )
        # 2. practice on subsets of the classes
        for classes in subsets:
            with trial.practice(config.practice / len(subsets), classes) as practice:
                self._run(practice, agent, seen[classes], TRAINED, practice=True)
        # 3. the run itself
        part = 1 - config.practice if subsets else 1.0
        self._run(trial, agent, seen.get(trial.classes, dimension), part, practice=False)
        mean, total = filters_left(dense, trial.surgery.groups)
        trial.log(
            filters_removed_mean_of_layers=1 - mean,
            filters_removed_total=1 - total,
            dimension=dimension,
            dimension_two_nn=crossed,
        )

    def _run(self, trial: Trial, agent: Agent, dimension: float, part: float, practice: bool) -> None:
        """One training with pruning, after one without where that is the reference."""
        config: IDRLConfig = trial.config
        reference: list[float] = []
        unpruned = config.unpruned if config.reference == "unpruned" else 0.0
        shares = [part * (1 - unpruned), *([part * unpruned * TRAINED] if unpruned else [])]
        points = sweep_points(trial, config, shares[0], min(shares))
        if unpruned:
            with trial.practice(unpruned * part) as beside:
                reference = TrainAndPrune(beside, agent, dimension, TRAINED, True, points).unpruned()
        TrainAndPrune(trial, agent, dimension, shares[0], practice, points).run(reference)


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
