"""Everything that may be done to a network's structure, as one object; `trial.surgery` is one that is charged."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import SurgeryError
from bench.measure.macs import count_macs
from bench.specs.target import Target
from bench.surgery.cost import Measure
from bench.surgery.fit import FLOOR, Scope, fit
from bench.surgery.groups import ChannelGroup, Groups, SkippedGroup
from bench.surgery.keep import Keep, full_keep
from bench.surgery.mask import masked
from bench.surgery.proof import bare_copy
from bench.surgery.remove import Removal, remove
from bench.surgery.weights import WeightMasks

__all__ = ["Surgery"]


class Surgery:
    """Masks, fits and removes channels of one network, and keeps the groups and masks in step.

    The groups are traced at first use, so that unstructured methods work on networks that offer none.

    Args:
        network: the network, dense or pruned before; changed in place, its modules stay.
        shape: one input's shape, (C, H, W).
        prunable: patterns of layer names; None for all convolutions.
        dense_macs: MACs of the dense network: what a target's ratio is of.
        dense_params: its parameters, likewise.
        target: what must be reached.
        proof_inputs: inputs [N, C, H, W] on which every removal is proven.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, int, int],
        prunable: Sequence[str] | None,
        dense_macs: int,
        dense_params: int,
        target: Target,
        proof_inputs: Tensor,
    ) -> None:
        self.network = network
        self.target = target
        self.weights = WeightMasks(network)
        self._shape = shape
        self._prunable = prunable
        self._dense = {"macs": dense_macs, "params": dense_params}
        self._proof_inputs = proof_inputs
        self._traced: Groups | None = None
        self._macs: int | None = None

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups as they are now.

        Raises:
            NotPrunable: the network offers none.
        """
        return self._groups.offered

    @property
    def left_out(self) -> tuple[SkippedGroup, ...]:
        """The groups that cannot be offered, with reasons."""
        return self._groups.left_out

    @property
    def widths(self) -> dict[str, int]:
        """Current width by group name."""
        return self._groups.widths

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one input now, as counted."""
        if self._macs is None:
            with self._working():
                self._macs = count_macs(bare_copy(self.network), self._shape).total
        return self._macs

    @property
    def params(self) -> int:
        """Number of parameters now."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def cost(self, widths: Mapping[str, int]) -> dict[str, int]:
        """`macs` and `params` that the network would have; groups that are not named stay as they are."""
        full = {**self.widths, **widths}
        return {"macs": self._groups.cost.macs(full), "params": self._groups.cost.params(full)}

    def ratio(self, keep: Keep | None = None) -> float:
        """Share of the dense network, in the target's measure (MACs for `auto` and `none`), now or after `keep`."""
        kept = full_keep(self._groups, keep or {})
        widths = np.array([[len(kept[group.name]) for group in self._groups]])
        return float(self.ratios_at(widths)[0])

    def ratios_at(self, widths: NDArray) -> NDArray[np.float64]:
        """Shares of the dense network [N], in the target's measure, at N vectors of widths [N, G].

        Plain arithmetic, for searches that ask often.

        Args:
            widths: channels of each group, in the order of `groups`.
        """
        measure: Measure = "params" if self.target.measure == "params" else "macs"
        return self._groups.cost.amounts(measure, widths) / self._dense[measure]

    def masked(self, keep: Keep) -> AbstractContextManager[None]:
        """A context in which the channels outside `keep` are off; see `bench.surgery.mask`."""
        return masked(self.network, self._groups, keep)

    def fit(
        self,
        ranking: Mapping[str, Tensor] | None = None,
        ratios: Mapping[str, float] | None = None,
        scope: Scope = "uniform",
        floor: float = FLOOR,
    ) -> dict[str, Tensor]:
        """The channels to keep so that the target is met as nearly as whole channels allow; see `bench.surgery.fit`.

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
        measure, ratio = self.target.measure, self.target.ratio
        if ratio is None or measure == "auto" or measure == "none":
            raise SurgeryError(f"target {self.target} has no size to fit: choose widths yourself.")
        with self._working():
            return fit(self._groups, ratio * self._dense[measure], measure, ranking, ratios, scope, floor)

    def weights_to_keep(self, ratio: float | None = None) -> int:
        """How many of the weights that masks cover may stay so that the network has `ratio` of the dense parameters.

        Args:
            ratio: None for the target's. Parameters without a mask (`weights.left_out`) count, and stay.

        Raises:
            SurgeryError: the target is no share of parameters, or is less than the parameters without a mask.
        """
        if ratio is None:
            if self.target.measure != "params" or self.target.ratio is None:
                raise SurgeryError(f"target {self.target} is no share of parameters to fit: use params=R.")
            ratio = self.target.ratio
        count = round(ratio * self._dense["params"]) - (self.params - self.weights.total)
        if count < 1:
            why = self.weights.why_left_out()
            raise SurgeryError(
                f"{ratio:g} of {self._dense['params']} parameters is less than the {self.params - self.weights.total} "
                f"that have no mask: {why or 'none'}. Give a larger target."
            )
        return min(count, self.weights.total)

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
        return self.weights.highest(scores, self.weights_to_keep(ratio), scope)

    def remove(self, keep: Keep) -> Removal:
        """Removes the channels outside `keep`, physically and in place, proven; see `bench.surgery.remove`.

        Args:
            keep: the channels that stay.

        Returns:
            The groups now, the plan that slices an optimiser's state, and the proof.
        """
        return self._remove(keep, self._proof_inputs)

    def remove_unproven(self, keep: Keep) -> Removal:
        """`remove` without the proof: for who asks for nothing but the sizes that come of it."""
        return self._remove(keep, None)

    def _remove(self, keep: Keep, proof_inputs: Tensor | None) -> Removal:
        removal = remove(self.network, self._groups, keep, proof_inputs)
        self._traced = removal.groups
        self._macs = None
        self.weights.slice_(removal.plan)
        return removal

    def _working(self) -> AbstractContextManager[None]:
        """Around the harness's own work: tracing, counting and fitting. Here it does nothing."""
        return nullcontext()

    @property
    def _groups(self) -> Groups:
        if self._traced is None:
            from bench.surgery.trace import trace_groups  # only who prunes needs it

            with self._working():
                self._traced = trace_groups(self.network, self._shape, self._prunable)
        return self._traced
