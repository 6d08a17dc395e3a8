"""`olmp`: optimisation based layer-wise magnitude pruning (Li, Qian, Jiang, Lu, Tang)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from bench import Config, Hook, Method, Step, Trial, UsageError

from ._ncs import minimise

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
    arrive: float = Field(
        0.6, gt=0, le=1, description="share of the searches by which a wanted size is reached; splicing goes on at it"
    )
    gradual: bool = Field(
        True, description="a wanted size is approached along a cubic; false: each search may go down to it at once"
    )
    delta: float = Field(0.02, ge=0, description="accuracy that the network as it is pruned now may lose in a search")
    sigma: float = Field(1.0, gt=0, description="standard deviation of the search's first offspring, in r")
    population: int = Field(10, ge=2, description="individuals of the search")
    bounds: tuple[float, ...] = Field(
        (10.0, 1.5),
        min_length=1,
        description="largest r: of all layers; of large layers, and of small ones; or one a layer",
    )
    small: float = Field(0.02, ge=0, le=1, description="a layer is small below this share of the parameters")
    gamma: float = Field(2e-4, ge=0, description="linear layers take part in step i with probability 1 / (1 + gamma i)")
    gamma_conv: float = Field(2e-5, ge=0, description="the same for convolutions")
    layers: Literal["all", "active"] = Field(
        "all", description="active: only layers that take part are searched, as released"
    )
    batch: int = Field(256, ge=0, description="training images of the constraint, at most; 0: the step's, as released")
    relative: bool = Field(
        False, description="the search compares costs less the best so far, with a lambda for each, as released"
    )


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
    """The layers of the reference network, in order.

    Args:
        network: as it was trained, not pruned.
        layers: names of their parameters, by layer.
        config: gamma and bounds.

    Raises:
        UsageError: `bounds` has neither one number, nor two, nor one a layer.
    """
    bounds = config.bounds
    if len(bounds) <= 2:
        counts = [sum(network.get_parameter(each).numel() for each in parameters) for parameters in layers.values()]
        bounds = tuple(bounds[-1] if count < config.small * sum(counts) else bounds[0] for count in counts)
    if len(bounds) != len(layers):
        raise UsageError(
            f"bounds has {len(bounds)} numbers for {len(layers)} layers: {', '.join(layers)}. "
            "Give one, two (large layers, small ones), or one a layer."
        )
    made = []
    for (name, parameters), bound in zip(layers.items(), bounds, strict=True):
        sizes = torch.cat([network.get_parameter(each).detach().abs().flatten() for each in parameters])
        sizes = sizes[sizes > 0].double()
        gamma = config.gamma if isinstance(network.get_submodule(name), nn.Linear) else config.gamma_conv
        mean, std = (sizes.mean().item(), sizes.std(correction=0).item()) if len(sizes) else (0.0, 0.0)
        made.append(Layer(tuple(parameters), mean, std, gamma, bound))
    return made


def hysteresis_magnitude(weight: Tensor, mask: Tensor) -> Tensor:
    """|w| as thresholds feel it: a weight takes part when this is above t.

    One comparison for both sides of the hysteresis: a weight that takes part goes at |w| <= 0.9 t, one that does not
    comes back at |w| > 1.1 t.
    """
    return weight.detach().abs() * torch.where(mask, 1 / _GOES, 1 / _COMES_BACK)


class Adjusting(Hook):
    """Prunes and splices at every step, and searches thresholds now and then.

    Args:
        trial: whose network is masked.
        layers: of its reference network.
        released: as in the released code, the search never accepts an offspring, and a candidate's masks stay in force
            for the next one.

    Attributes:
        r: [layers] the thresholds' parameters.
        scale: common factor on all thresholds; 1 unless a size is wanted.
        searched: searches that were due so far.
    """

    def __init__(self, trial: Trial[OLMPConfig], layers: Sequence[Layer], released: bool = False) -> None:
        self.trial, self.config, self.layers, self.released = trial, trial.config, layers, released
        self.r: NDArray[np.float64] = np.full(len(layers), _FIRST)
        self.scale = 1.0
        self.searched = 0
        self.batch, self.searches = self._affordable()
        self.price = trial.ledger.price(self.batch * trial.surgery.macs)

    def state_dict(self) -> dict[str, Any]:
        """What the searches found."""
        return {"r": torch.from_numpy(self.r), "scale": self.scale, "searched": self.searched}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it up again."""
        self.r, self.scale, self.searched = state["r"].numpy().copy(), state["scale"], state["searched"]

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

    def masks(self, layers: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Masks of these layers at the thresholds as they are now; of all, if none are named."""
        return {name: share > self.scale for name, share in self.shares(layers).items()}

    def shares(self, layers: Sequence[int] | None = None) -> dict[str, Tensor]:
        """The hysteresis magnitude of each weight, as a share of its layer's threshold before scaling."""
        chosen = range(len(self.layers)) if layers is None else layers
        thresholds = {i: max(self.layers[i].threshold(self.r[i]), 1e-12) for i in chosen}
        return {name: size / thresholds[i] for i in chosen for name, size in self._magnitudes(i).items()}

    def _magnitudes(self, layer: int) -> dict[str, Tensor]:
        network, masks = self.trial.network, self.trial.surgery.weights.masks
        return {
            name: hysteresis_magnitude(network.get_parameter(name), masks[name])
            for name in self.layers[layer].parameters
        }

    def _affordable(self) -> tuple[int, int]:
        """Images of the constraint and number of searches: fewer of both rather than a search of few candidates."""
        trial, config = self.trial, self.config
        batch = min(config.batch or trial.batch_size, trial.sizes.train)
        price = trial.ledger.price(trial.surgery.macs)
        if not price:
            return batch, config.searches
        images = int(trial.ledger.search_left / price)
        batch = max(1, min(batch, images // _FEWEST))
        return batch, max(1, min(config.searches, images // (batch * _FEWEST)))

    def _search(self, step: Step, chosen: Sequence[int]) -> None:
        """Minimises the share of weights left over r of these layers, under the constraint; keeps the best."""
        config, weights, ledger = self.config, step.weights, self.trial.ledger
        reserve = ledger.search_left * (1 - 1 / (self.searches - self.searched))  # for the searches after this one
        count = config.evaluations
        if self.price:
            count = min(count, int((ledger.search_left - reserve) / self.price + 1e-9) - 1)
        if count < 2 or ledger.search_left <= 0:
            return
        images, labels = (
            step.sample(self.batch, self.trial.rng)
            if config.batch
            else (step.images[: self.batch], step.labels[: self.batch])
        )

        def correct() -> int:
            return int((step.forward(images).argmax(1) == labels).sum())

        before = weights.masks
        needed = correct() - config.delta * len(labels)
        sizes = {i: self._magnitudes(i) for i in chosen}
        least = self._min_weights()

        def cost(r: NDArray[np.float64]) -> float | None:
            if ledger.search_left <= max(reserve - self.price / 2, 0) or ledger.search_left < self.price:
                return None
            for i, value in zip(chosen, r, strict=True):
                threshold = self.scale * self.layers[i].threshold(value)
                seen = self._magnitudes(i) if self.released else sizes[i]
                weights.set({name: size > threshold for name, size in seen.items()})
            right = correct()
            if right < needed:
                return INFEASIBLE
            errors = (len(labels) - right) / len(labels) if least else 0.0  # of two of the size that is due
            return max(weights.remaining(), least) / weights.total * (1 + errors)

        found = minimise(
            cost,
            self.r[chosen],
            np.array([self.layers[i].bound for i in chosen]),
            evaluations=count,
            generator=self.trial.rng,
            sigma=config.sigma,
            population=config.population,
            accepting=not self.released,
            relative=config.relative,
        )
        if not self.released:
            weights.set(before)
        if found is not None and found.cost < INFEASIBLE:
            self.r[chosen] = found.point
        self.trial.log(candidates=found.evaluations if found else 0, remaining=found.cost if found else 1.0)

    def _rescale(self) -> None:
        """When a size is wanted: scales all thresholds alike, so that neither too much nor too little is left."""
        target = self.trial.target
        if target.ratio is None:
            return
        shares, most = self.shares(), self._max_share(self.searched)
        least = most if self.config.gradual else target.ratio
        self.scale = min(max(self.scale, self._scale(shares, most)), self._scale(shares, least))

    def _max_share(self, searched: int) -> float:
        """The share that may be left after so many searches: a cubic down to the wanted size, reached by `arrive`."""
        wanted = self.trial.target.ratio
        assert wanted is not None
        ahead = max(0.0, 1 - searched / (self.searches * self.config.arrive))
        return wanted + (1 - wanted) * ahead**3

    def _min_weights(self) -> int:
        """Number of weights below which the search that is due has no reward."""
        if not self.trial.target.has_size:
            return 0
        ratio = self._max_share(self.searched + 1) if self.config.gradual else None
        return self.trial.surgery.weights_to_keep(ratio)

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
