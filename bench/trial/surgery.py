"""`trial.surgery`: `bench.surgery` as a part of a trial.

The guard is opened, removals and new weights are calls of the trial, the optimiser's state follows, and the harness's
own work (tracing, counting, the proof) is off the clock.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from bench.specs.target import Target
from bench.surgery import Keep, Surgery
from bench.surgery.keep import full_keep
from bench.surgery.remove import Removal
from bench.trial.calls import Calls

__all__ = ["TrialSurgery"]


class TrialSurgery(Surgery):
    """Channel groups, masks to try, `fit`, physical removal, and unstructured masks.

    Args:
        calls: that these are part of; its network is changed in place.
        shape, prunable, dense_macs, dense_params, target, proof_inputs: see `Surgery`.
        initialise: draws new weights for a network, in place.
        removed: told each removal: the channels that stay (sorted int64) of every group, and the widths before it.
    """

    def __init__(
        self,
        calls: Calls,
        shape: tuple[int, int, int],
        prunable: Sequence[str] | None,
        dense_macs: int,
        dense_params: int,
        target: Target,
        proof_inputs: Tensor,
        initialise: Callable[[nn.Module], None],
        removed: Callable[[Mapping[str, Tensor], Mapping[str, int]], None],
    ) -> None:
        super().__init__(calls.network, shape, prunable, dense_macs, dense_params, target, proof_inputs)
        self._calls, self._initialise, self._removed = calls, initialise, removed

    @contextmanager
    def masked(self, keep: Keep) -> Iterator[None]:
        """A context in which the channels outside `keep` are off; the weights are as before on leaving, bit by bit."""
        context = super().masked(keep)
        with self._calls.guard.opened():
            context.__enter__()
        self._calls.masks_on += 1
        try:
            yield
        finally:
            self._calls.masks_on -= 1
            with self._calls.guard.opened():
                context.__exit__(None, None, None)

    def remove(self, keep: Keep) -> Removal:
        """Removes the channels outside `keep`, physically; proven equal to masking them.

        `trial.history` and the optimiser's state are those of the channels that stay.

        Args:
            keep: indices (or a bool mask) of the channels that stay, by group name; groups not named stay whole.

        Raises:
            SurgeryError: a group would be empty, the indices do not fit, or the proof fails; nothing was changed.
        """
        calls = self._calls
        calls.outside_masks("removing", "mix up what is restored")
        words = " ".join(f"{name}={_indices(kept)}" for name, kept in sorted(keep.items()))
        removals: list[Removal] = []

        def work() -> None:
            with calls.clock.stopped():
                kept, widths = full_keep(self._groups, keep), self.widths
                removal = super(TrialSurgery, self).remove(keep)
                calls.optimiser.slice(removal.plan.slice_state)
                calls.removals.append(removal.plan)
                self._removed(kept, widths)
                removals.append(removal)

        calls.call("remove", words, work)
        calls.mark("prune", {"macs": self.macs, "params": self.params})
        return removals[0]

    def reinitialise(self) -> None:
        """Draws new weights for the network at its present widths, from the run's seed; masks stay.

        They are others than those that it began with: `trial.rewind()` gives these back.
        """

        def work() -> None:
            self._initialise(self.network)
            self._calls.optimiser.state = {}

        self._calls.call("reinitialise", "", work)

    def _working(self) -> AbstractContextManager[None]:
        return self._calls.harness()


def _indices(kept: Tensor) -> list[int]:
    return (kept.nonzero().flatten() if kept.dtype == torch.bool else kept).tolist()
