"""`trial.surgery`: what a method may do to the network's structure.

It wraps `bench.surgery` with what makes it part of a trial: the guard is opened, the optimiser's state is sliced,
removals are journaled and logged, and the harness's own work (tracing, the proof) is off the clock.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.surgery import ChannelGroup, Keep
from bench.surgery.fit import FLOOR, Scope
from bench.surgery.weights import WeightMasks

if TYPE_CHECKING:
    from bench.trial.trial import Trial

__all__ = ["TrialSurgery"]


class TrialSurgery:
    """Channel groups, masks to try, `fit`, physical removal, and unstructured masks."""

    def __init__(self, trial: "Trial") -> None:
        self._trial = trial
        self._engine = trial.engine

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups as they are now: name, width, MACs and parameters a channel, live weight views.

        Raises:
            NotPrunable: the network offers none.
        """
        with self._harness():
            return self._engine.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image forward, now."""
        return self._engine.macs

    @property
    def params(self) -> int:
        """Parameters, now."""
        return self._engine.params

    @property
    def weights(self) -> WeightMasks:
        """Unstructured masks over weights and biases."""
        return self._engine.weights

    def ratio(self, keep: Keep | None = None) -> float:
        """Share of the dense network, in the target's measure (MACs for `auto` and `none`), now or after `keep`."""
        with self._harness():
            return self._engine.ratio({} if keep is None else keep)

    def ratios_at(self, widths: NDArray) -> NDArray[np.float64]:
        """Shares of the dense network [N], in the target's measure, at N vectors of widths [N, G].

        Plain arithmetic, for searches that ask often: nothing is traced, and the network is not looked at.

        Args:
            widths: channels of each group, in the order of `groups`, which must have been read before.
        """
        return self._engine.ratios_at(widths)

    def fit(
        self,
        ranking: Mapping[str, Tensor] | None = None,
        ratios: Mapping[str, float] | None = None,
        scope: Scope = "uniform",
        floor: float = FLOOR,
    ) -> dict[str, Tensor]:
        """The channels to keep so that the target is met as nearly as whole channels allow.

        Args:
            ranking: scores [width] by group name, higher stays longer; groups without scores are kept whole. None for
                the l1 norms of the filters.
            ratios: how large a share of each group is to stay, relative to the other groups; None for the same.
            scope: `uniform` (shares by group) or `global` (one threshold over all scores).
            floor: share of each group's present channels that stays in a `global` ranking.

        Returns:
            Kept indices by group name, for `masked` and `remove`.

        Raises:
            SurgeryError: the target has no size, or scores or ratios do not fit the groups.
            NotPrunable: one channel a group, or the floor, is still above the target.
        """
        with self._harness():
            return self._engine.fit(ranking, ratios, scope, floor)

    def weights_to_keep(self, ratio: float | None = None) -> int:
        """How many of the weights that `weights` covers may stay.

        Args:
            ratio: of the dense network's parameters; None for the target's. Parameters without a mask
                (normalisation) count, and stay.

        Raises:
            SurgeryError: the target is no share of parameters, or is below what has no mask.
        """
        return self._engine.weights_to_keep(ratio)

    def fit_weights(
        self, scores: Mapping[str, Tensor], ratio: float | None = None, scope: Scope = "global"
    ) -> dict[str, Tensor]:
        """Unstructured masks that meet the target, for `weights.set`: the weights with the highest scores stay.

        Args:
            scores: a tensor of its shape for every parameter in `weights.masks`, by name.
            ratio: see `weights_to_keep`.
            scope: `global` (one threshold over all layers) or `uniform` (the same share of every layer).

        Raises:
            SurgeryError: the target is no share of parameters, or scores are missing or of another shape.
        """
        return self._engine.fit_weights(scores, ratio, scope)

    @contextmanager
    def masked(self, keep: Keep) -> Iterator[None]:
        """A context in which the channels outside `keep` are off; the weights are as before on leaving, bit by bit."""
        trial = self._trial
        context = self._engine.masked(keep)
        with trial.guard.opened():
            context.__enter__()
        trial.masks_on += 1
        try:
            yield
        finally:
            trial.masks_on -= 1
            with trial.guard.opened():
                context.__exit__(None, None, None)

    def remove(self, keep: Keep) -> None:
        """Removes the channels outside `keep`, physically; proven equal to masking them.

        Args:
            keep: indices (or a bool mask) of the channels that stay, by group name; groups not named stay whole.

        Raises:
            SurgeryError: a group would be empty, the indices do not fit, or the proof fails; nothing was changed.
        """
        self._trial.remove_channels(keep)

    def reinitialise(self) -> None:
        """Draws new weights for the network at its present widths, from the run's seed; masks stay.

        They are others than those that it began with: `trial.rewind()` gives these back.
        """
        self._trial.reinitialise_network()

    @contextmanager
    def _harness(self) -> Iterator[None]:
        """Tracing and counting: the harness's work, off the clock and not a violation."""
        with self._trial.guard.opened(), self._trial.clock.stopped():
            yield
