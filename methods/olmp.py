"""`olmp`: optimisation based layer-wise magnitude pruning (Li, Qian, Jiang, Lu, Tang)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bench import Config, Hook, Method, Step, Trial, UsageError

from ._ncs import Points, minimise
from .magnitude import ratio_at

Masks = dict[str, Tensor]
Layers = Sequence[int] | None

INFEASIBLE = 1.1
"""Cost of thresholds that break the constraint: more than the whole network."""
_FIRST = 0.001  # r of every layer at the beginning
_GOES, _COMES_BACK = 0.9, 1.1  # hysteresis: a weight goes at this part of the threshold, comes back at that one
_FEWEST = 50  # evaluations that a search should have, when the budget allows few


class OLMPConfig(Config):
    """Settings of `olmp`."""

    adjust: float = Field(0.4, gt=0, lt=1, description="share of the pruning budget for pruning and adjusting")
    searches: int = Field(15, ge=1, description="searches for thresholds while adjusting, evenly spaced")
    evaluations: int = Field(1600, ge=2, description="candidates a search, at most: the budget may allow fewer")
    arrive: float = Field(0.6, gt=0, le=1, description="share of the searches by which a wanted size is reached")
    gradual: bool = Field(True, description="a wanted size is approached along a cubic; false: it may come at once")
    delta: float = Field(0.02, ge=0, description="accuracy that the network as it is pruned now may lose in a search")
    sigma: float = Field(1.0, gt=0, description="standard deviation of the search's first offspring, in r")
    population: int = Field(10, ge=2, description="individuals of the search")
    bounds: tuple[float, ...] = Field(
        (10.0, 1.5), min_length=1, description="largest r: of all layers; of large and of small ones; or one a layer"
    )
    small: float = Field(0.02, ge=0, le=1, description="a layer is small below this share of the parameters")
    gamma: float = Field(2e-4, ge=0, description="linear layers take part in step i with probability 1 / (1 + gamma i)")
    gamma_conv: float = Field(2e-5, ge=0, description="the same for convolutions")
    layers: Literal["all", "active"] = Field(
        "all", description="active: those that take part are searched, as released"
    )
    batch: int = Field(256, ge=0, description="training images of the constraint, at most; 0: the step's, as released")
    relative: bool = Field(False, description="costs less the best so far, and a lambda for each, as released")


@dataclass(frozen=True)
class Layer:
    """A layer and what its threshold is made of.

    Attributes:
        parameters: names of its weight and bias.
        mean, std: of the absolute values of both together in the reference network, zeros left out.
        gamma: see `OLMPConfig`.
        bound: of r.
    """

    parameters: tuple[str, ...]
    mean: float
    std: float
    gamma: float
    bound: float

    def threshold(self, r: float) -> float:
        """Weights below this go."""
        return max(self.mean + r * self.std, 0.0)


def reference_layers(network: nn.Module, layers: Mapping[str, Sequence[str]], config: OLMPConfig) -> list[Layer]:
    """The layers of the reference network, trained and not pruned, by the names of their parameters, in order.

    Raises:
        UsageError: `bounds` has neither one number, nor two, nor one a layer.
    """
    sizes = [torch.cat([network.get_parameter(each).detach().abs().flatten() for each in p]) for p in layers.values()]
    bounds, small = config.bounds, config.small * sum(map(len, sizes))
    if len(bounds) <= 2:
        bounds = tuple(bounds[-1] if len(each) < small else bounds[0] for each in sizes)
    if len(bounds) != len(layers):
        raise UsageError(
            f"bounds has {len(bounds)} numbers for {len(layers)} layers: {', '.join(layers)}. "
            "Give one, two (large layers, small ones), or one a layer."
        )
    made = []
    for (name, parameters), each, bound in zip(layers.items(), sizes, bounds, strict=True):
        left = each[each > 0].double()
        gamma = config.gamma if isinstance(network.get_submodule(name), nn.Linear) else config.gamma_conv
        mean, std = (left.mean().item(), left.std(correction=0).item()) if len(left) else (0.0, 0.0)
        made.append(Layer(tuple(parameters), mean, std, gamma, bound))
    return made


def hysteresis_magnitude(weight: Tensor, mask: Tensor) -> Tensor:
    """|w| as thresholds feel it: a weight takes part when this is above t.

    One comparison for both sides of the hysteresis: a weight that takes part goes at |w| <= 0.9 t, one that does not
    comes back at |w| > 1.1 t.
    """
    return weight.detach().abs() * torch.where(mask, 1 / _GOES, 1 / _COMES_BACK)


@dataclass
class Adjusting(Hook):
    """Prunes and splices at every step, and searches thresholds now and then.

    Attributes:
        trial: whose network is masked.
        layers: of its reference network.
        released: as in the released code, the search never accepts an offspring, and a candidate's masks stay in force
            for the next one.
        r: the thresholds' parameters, one a layer.
        scale: common factor on all thresholds; 1 unless a size is wanted.
        searched: searches that were due so far.
    """

    trial: Trial[OLMPConfig]
    layers: Sequence[Layer]
    released: bool
    r: list[float] = field(default_factory=list)
    scale: float = 1.0
    searched: int = 0

    def __post_init__(self) -> None:
        trial, config = self.trial, self.trial.config
        self.config, self.r = config, [_FIRST] * len(self.layers)
        # fewer images of the constraint, and fewer searches, rather than a search of few candidates
        self.batch, self.searches = min(config.batch or trial.batch_size, trial.sizes.train), config.searches
        while self.batch > 1 and not trial.affordable(self.batch, _FEWEST, recalibrate=False):
            self.batch //= 2
        while self.searches > 1 and not trial.affordable(self.batch, _FEWEST * self.searches, recalibrate=False):
            self.searches -= 1
        self.price = trial.price(self.batch, recalibrate=False)

    def before_step(self, step: Step) -> None:
        """Algorithm 1: masks of the active layers; at times a search, after which all layers follow."""
        lots = torch.rand(len(self.layers), generator=self.trial.rng).tolist()
        active = [i for i, layer in enumerate(self.layers) if lots[i] < 1 / (1 + layer.gamma * step.index)]
        step.weights.set(self.masks(active))
        if self.searched < self.searches and step.progress >= self.searched / self.searches:
            chosen = active if self.config.layers == "active" else list(range(len(self.layers)))
            if len(chosen) >= min(2, len(self.layers)):
                self._search(step, chosen)
            self.searched += 1
            self._rescale()
            step.weights.set(self.masks())

    def masks(self, layers: Layers = None, before: Masks | None = None) -> Masks:
        """Masks of these layers (None: of all) at the thresholds as they are now, by those before (None: now)."""
        return {name: share > self.scale for name, share in self.shares(layers, before).items()}

    def shares(self, layers: Layers = None, before: Masks | None = None) -> Masks:
        """The hysteresis magnitude of each weight, as a share of its layer's threshold before scaling."""
        network, masks = self.trial.network, before or self.trial.surgery.weights.masks
        return {
            name: hysteresis_magnitude(network.get_parameter(name), masks[name])
            / max(self.layers[i].threshold(self.r[i]), 1e-12)
            for i in (range(len(self.layers)) if layers is None else layers)
            for name in self.layers[i].parameters
        }

    def _search(self, step: Step, chosen: Sequence[int]) -> None:
        """Minimises the share of weights left over r of these layers, under the constraint; keeps the best."""
        config, weights, ledger = self.config, step.weights, self.trial.ledger
        reserve = ledger.search_left * (1 - 1 / (self.searches - self.searched))  # for the searches after this one
        count = config.evaluations
        if self.price:
            count = min(count, int((ledger.search_left - reserve) / self.price + 1e-9) - 1)
        if count < 2 or ledger.search_left <= 0:
            return
        images, labels = step.images[: self.batch], step.labels[: self.batch]
        if config.batch:
            images, labels = step.sample(self.batch, self.trial.rng)
        last = max(reserve - self.price / 2, self.price * (1 - 1e-9), 0.0)  # what is left behind the last candidate
        before, r, least = weights.masks, list(self.r), self._min_weights()

        def right() -> int:
            return int((step.forward(images).argmax(1) == labels).sum())

        def take(point: Sequence[float]) -> None:
            for i, value in zip(chosen, point, strict=True):
                self.r[i] = float(value)

        needed = right() - config.delta * len(labels)

        def cost(point: Points) -> float | None:
            if ledger.search_left <= last:
                return None
            take(point.tolist())
            weights.set(self.masks(chosen, None if self.released else before))
            found = right()
            if found < needed:
                return INFEASIBLE
            errors = (len(labels) - found) / len(labels) if least else 0.0  # of two of the size that is due
            return max(weights.remaining(), least) / weights.total * (1 + errors)

        found = minimise(
            cost,
            np.array([r[i] for i in chosen]),
            np.array([self.layers[i].bound for i in chosen]),
            evaluations=count,
            generator=self.trial.rng,
            sigma=config.sigma,
            population=config.population,
            accepting=not self.released,
            relative=config.relative,
        )
        self.r = r
        if not self.released:
            weights.set(before)
        if found is not None and found.cost < INFEASIBLE:
            take(found.point.tolist())
        self.trial.log(candidates=found.evaluations if found else 0, remaining=found.cost if found else 1.0)

    def _rescale(self) -> None:
        """When a size is wanted: scales all thresholds alike, so that neither too much nor too little is left."""
        if (wanted := self.trial.target.ratio) is not None:
            due, shares = self._due(self.searched), self.shares()
            least = self._scale(shares, due if self.config.gradual else wanted)
            self.scale = min(max(self.scale, self._scale(shares, due)), least)

    def _due(self, searched: int) -> float:
        """The share that may be left after so many searches: a cubic down to the wanted size, reached by `arrive`."""
        last = self.searches * self.config.arrive
        return ratio_at(min(searched, last), last, self.trial.target.ratio or 0.0)

    def _min_weights(self) -> int:
        """Number of weights below which the search that is due has no reward."""
        if not self.trial.target.has_size:
            return 0
        return self.trial.surgery.weights_to_keep(self._due(self.searched + 1) if self.config.gradual else None)

    def _scale(self, shares: Mapping[str, Tensor], ratio: float) -> float:
        """The factor on all thresholds that leaves this share of the dense network's parameters."""
        masks = self.trial.surgery.fit_weights(shares, ratio)
        gone = [share[~masks[name]] for name, share in shares.items()]
        return max((each.max().item() for each in gone if len(each)), default=0.0)


class OLMP(Method):
    """Searches one magnitude threshold a layer for the smallest network that keeps its accuracy, while it trains.

    Source: Li, Qian, Jiang, Lu, Tang, "Optimization based Layer-wise Magnitude-based Pruning for DNN Compression",
    IJCAI 2018, and the authors' released code, by which the mask rule follows Guo et al. 2016, "Dynamic Network
    Surgery". Biases have masks like weights and count in the size.

    Deviations: the search compares costs as they are, with one lambda a generation (`relative=true`: less the best one,
    with a lambda for each offspring, as released); its first offspring are drawn with sigma 1 (`sigma=5` as released),
    and a search may lose an accuracy of 0.02 (`delta`: 0.05 to 0.08 as released); all layers are searched at once
    (`layers=active`); the r of small layers, such as the first and the last, is bounded closer (`bounds=[10]`: all
    alike); the constraint is tested on a fresh draw of training images (`batch=0`: the step's own); searches are spaced
    evenly over the steps, and have as many candidates as the budget allows. A target with a size is ours: a search's
    reward ends at the size that is due, where errors decide; that size falls along a cubic (`gradual=false`: it is the
    wanted one at once), and one common factor on all thresholds keeps the network there. The validation images are the
    track's; the paper's split of MNIST is said to hold 6,000. The released code as it is: `olmp-released`.
    """

    name = "olmp"
    reference = "Li et al. 2018, IJCAI"
    kind = "unstructured"
    targets = "any"
    Config = OLMPConfig
    released = False

    def prune(self, trial: Trial[OLMPConfig]) -> None:
        """Prunes and adjusts; then masks are frozen, and the track's fine-tuning is the paper's retraining."""
        weights = trial.surgery.weights
        # 1. thresholds t = max(mean + r std, 0), mean and std of |w| of the reference network, once
        adjusting = Adjusting(trial, reference_layers(trial.network, weights.layers, trial.config), self.released)
        # 2. masks and splicing at every step, searches between, gradients to all weights
        weights.straight_through = True
        trial.train(share=trial.config.adjust, hooks=[adjusting])
        # 3. masks as they stay
        weights.set(trial.surgery.fit_weights(adjusting.shares()) if trial.target.has_size else adjusting.masks())
