"""At which points of a training call the observers look: evenly spaced, whatever its length, and at epochs' ends."""

from bench.data.splits import steps_per_epoch

__all__ = ["POINTS", "Points", "steps_of"]

POINTS = 5
"""How many evenly spaced looks a call has at the least, its end included."""


def steps_of(images: int, train_images: int, batch: int) -> int:
    """Optimiser steps that so many images pay for: whole batches, of epochs over `train_images`.

    An epoch's last batch may be shorter; where it is a single image it is left out.
    """
    per_epoch = steps_per_epoch(train_images, batch)
    in_epoch = train_images - (train_images % batch == 1)
    epochs, rest = divmod(images, in_epoch)
    return epochs * per_epoch + rest // batch


class Points:
    """The points of one call.

    Args:
        steps: optimiser steps of the call; None where time binds, so that nobody knows: then every tenth of it is a
            point, since two may fall on one step.
    """

    def __init__(self, steps: int | None) -> None:
        self._at = None if steps is None else {-(-steps * part // POINTS) for part in range(1, POINTS + 1)}

    def due(self, step: int, before: float, after: float) -> bool:
        """Whether to look after step number `step`, which took the progress in [0, 1] from `before` to `after`."""
        if self._at is not None:
            return step in self._at
        return int(after * 2 * POINTS) > int(before * 2 * POINTS)
