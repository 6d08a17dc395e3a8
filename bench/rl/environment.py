"""`PruningEnv`: a walk through a network's channel groups, as a `gymnasium` environment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import UsageError
from bench.rl.bounds import Bounds
from bench.rl.observation import FEATURES, describe_groups
from bench.surgery import l1_norms

if TYPE_CHECKING:
    from bench.surgery import ChannelGroup, Keep
    from bench.trial.trial import Trial

__all__ = ["PruningEnv", "Walk"]


@dataclass(frozen=True, eq=False)
class Walk:
    """A finished walk.

    Attributes:
        actions: what the agent asked for, by group name: a number in [0, 1], or the index of a level.
        shares: the share of its channels that each group keeps by that, after the bounds.
        keep: the channels that stay, for `trial.surgery.masked` and `remove`.
    """

    actions: dict[str, float]
    shares: dict[str, float]
    keep: "Keep"


Reward = Callable[[Walk], float]
Share = Callable[["ChannelGroup", float], float]
Land = Callable[[Mapping[str, float], Mapping[str, float]], "Keep"]
Ranking = Callable[[Mapping[str, float]], Mapping[str, Tensor] | None]
Extra = Callable[["ChannelGroup"], Sequence[float]]
Sizes = Callable[[], tuple[float, float]]


class PruningEnv(gymnasium.Env[NDArray[np.float32], Any]):
    """One episode is one walk: the groups in module order, an action each, and a reward at the end.

    Source: AMC (He et al. 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3),
    with channel groups in place of layers. An action is the share of its own channels that a group keeps, where AMC's
    is the share of a layer's input channels: the same thing, counted at the producer.

    Observation, float32 in [0, 1], as in AMC's official code: index of the group, convolution or linear layer, input
    and output channels, stride, kernel size and number of weights, each min-max scaled over the groups; then the share
    of the network's MACs (parameters, if that is the target's measure) that the walk has removed so far, the share that
    the groups still to come could remove, and the last share kept. Where layers are tied, the first one is described,
    with the weights of all.

    Action: `Box(0, 1, (1,))`, the share to keep; with `levels`, `Discrete(len(levels))`.

    With `bounded`, shares are clipped so that the walk lands on the target (`bench.rl.bounds`), and
    `trial.surgery.fit` gives the exact widths. Groups are read again at each reset, so a reward may remove channels and
    train: the next walk begins where that left the network, and `sizes` says how far it may go.

    Each finished walk is logged: `episode` from 1, its `reward`, and the `best` so far.

    Args:
        trial: whose network is walked. The environment runs nothing on it: rewards do.
        reward: what a finished walk is worth; the reward of its last step, all others being 0. What it raises (such as
            `BudgetSpent`) ends the episode and comes out of `step`.
        levels: shares to keep, for discrete actions; None for continuous ones.
        lower: share of its channels that every group keeps at the least.
        bounded: whether walks land on the target, which must have a size then.
        sizes: the least and the most share of the dense network, in the target's measure, that the next walk may end
            at; asked at each reset. None where every walk lands on the target.
        ranking: from actions by group name to scores [width] by group name, the highest of which stay; None for the l1
            norms of the filters.
        share: from a group and an action (a number in [0, 1] or a level's index) to the share it keeps, where that is
            not the action itself.
        land: from actions and shares by group name to the channels that stay, in place of `fit`.
        extra: more features of a group, in [0, 1]; always of the same number.

    Attributes:
        trial: whose network is walked.
        walks: finished walks so far, with their rewards.

    Raises:
        NotPrunable: the network offers no groups.
        UsageError: `bounded` without a size to land on; `lower` or a level is not in (0, 1].
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as gymnasium declares it

    def __init__(
        self,
        trial: "Trial",
        reward: Reward,
        *,
        levels: Sequence[float] | None = None,
        lower: float = 0.05,
        bounded: bool = True,
        sizes: Sizes | None = None,
        ranking: Ranking | None = None,
        share: Share | None = None,
        land: Land | None = None,
        extra: Extra | None = None,
    ) -> None:
        if not all(0 < value <= 1 for value in (lower, *(levels or ()))):
            raise UsageError(f"lower={lower} and levels={levels}: shares to keep are above 0 and at most 1.")
        if bounded and not trial.target.has_size:
            raise UsageError(f"target {trial.target} has no size to land on: use bounded=False.")
        self.trial, self._reward, self._levels = trial, reward, levels
        self._lower, self._is_bounded, self._sizes = lower, bounded, sizes
        self._ranking, self._share, self._land, self._extra = ranking, share, land, extra
        self.walks: list[tuple[Walk, float]] = []
        self._read_groups()
        self.action_space = (
            gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
            if levels is None
            else gymnasium.spaces.Discrete(len(levels))
        )
        features = FEATURES + (0 if extra is None else len(extra(self._groups[0])))
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (features,), np.float32)

    @property
    def length(self) -> int:
        """Steps of a walk: the number of groups."""
        return len(self._groups)

    @property
    def group(self) -> "ChannelGroup":
        """The group that the next action is for; the last one when the walk is over."""
        return self._groups[min(len(self._widths), self.length - 1)]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins a walk. Nothing is random here; the seed is gymnasium's."""
        super().reset(seed=seed, options=options)
        self._read_groups()
        return self._observation(), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Decides about the next group.

        Returns:
            Observation, reward (0 until the walk ends), whether it has ended, False, and at the end the `walk`.

        Raises:
            RuntimeError: the walk has ended; call `reset`.
        """
        if len(self._widths) == self.length:
            raise RuntimeError("the walk has ended: call reset() before the next step")
        group = self.group
        asked = float(np.asarray(action).reshape(-1)[0])
        self._actions[group.name] = asked
        self._widths.append(self._width(group, asked))
        if len(self._widths) < self.length:
            return self._observation(), 0.0, False, False, {}
        walk = self._finished()
        reward = float(self._reward(walk))
        self.walks.append((walk, reward))
        self.trial.log(episode=len(self.walks), reward=reward, best=max(value for _, value in self.walks))
        return self._observation(), reward, True, False, {"walk": walk}

    # -- inside -------------------------------------------------------------------------------------------------

    def _read_groups(self) -> None:
        surgery, target = self.trial.surgery, self.trial.target.ratio
        self._groups = surgery.groups
        self._fixed = describe_groups(self._groups, self.trial.network)
        full = [group.width for group in self._groups]
        # without a size to land on, one that no bound reaches: the arithmetic for the observation is the same
        ratio = np.inf if target is None or not self._is_bounded else target
        floor, most = self._sizes() if self._is_bounded and self._sizes else (ratio, ratio)
        self._bounds = Bounds(surgery.ratios_at, full, most, self._lower, floor)
        self._lands = self._is_bounded and floor == most == ratio
        self._begun = float(surgery.ratios_at(self._bounds.full[None])[0])
        self._widths: list[int] = []
        self._actions: dict[str, float] = {}

    def _width(self, group: "ChannelGroup", asked: float) -> int:
        value = asked
        if self._share is not None:
            value = self._share(group, asked)
        elif self._levels is not None:
            value = self._levels[round(asked)]
        least, most = int(self._bounds.least[len(self._widths)]), group.width
        if self._is_bounded:
            least, most = self._bounds.between(self._widths)
        return min(max(round(value * group.width), least), most)

    def _finished(self) -> Walk:
        names = [group.name for group in self._groups]
        shares = {group.name: width / group.width for group, width in zip(self._groups, self._widths, strict=True)}
        actions = {name: self._actions[name] for name in names}
        if self._land is not None:
            return Walk(actions, shares, self._land(actions, shares))
        scores = None if self._ranking is None else self._ranking(actions)
        if self._lands:
            return Walk(actions, shares, self.trial.surgery.fit(scores, ratios=shares))
        scores = l1_norms(self._groups) if scores is None else scores
        widths = dict(zip(names, self._widths, strict=True))
        ranked = {name: scores[name].argsort(descending=True, stable=True) for name in names}
        return Walk(actions, shares, {name: ranked[name][: widths[name]] for name in names})

    def _observation(self) -> NDArray[np.float32]:
        bounds, done = self._bounds, len(self._widths)
        index = min(done, self.length - 1)
        kept, cut = bounds.full.copy(), bounds.least.copy()
        kept[:done] = cut[:done] = self._widths
        most, least = self.trial.surgery.ratios_at(np.stack([kept, cut])) / self._begun
        last = self._widths[-1] / bounds.full[done - 1] if done else 1.0
        extra = [] if self._extra is None else self._extra(self._groups[index])
        values = [*self._fixed[index], 1 - most, most - least, last, *extra]
        return np.clip(np.array(values, dtype=np.float32), 0.0, 1.0)
