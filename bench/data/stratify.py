"""Fixed draws of images: the same on any machine and with any library version, since they are sorted hashes.

Not for training: the order of an epoch comes from the run's seed, in `bench.data.splits`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from bench.errors import UsageError

__all__ = ["mixed", "stratified_draw"]


def mixed(places: Iterable[int], seed: int) -> list[int]:
    """Places in the order of the SHA-256 of `f"{seed}:{place}"`."""
    return sorted(places, key=lambda place: hashlib.sha256(f"{seed}:{place}".encode()).digest())


def stratified_draw(labels: Sequence[int], images: int, seed: int) -> tuple[list[int], list[int]]:
    """Draws `images` places without replacement, each class in proportion.

    All places are put in the order of the SHA-256 of `f"{seed}:{place}"`. Each class gives its first ones, as
    many as its share of the images (rounded by largest remainder, the lower label first among equals).

    Args:
        labels: of all images.
        images: how many to draw.
        seed: of the order.

    Returns:
        The places drawn and the places left, both in that order: classes are mixed in either, and the first
        few are a fair sample.

    Raises:
        UsageError: `images` is not below the number of labels, or is not positive.
    """
    if not 0 < images < len(labels):
        raise UsageError(f"{images} images cannot be drawn from {len(labels)}: draw 1 to {len(labels) - 1}.")
    counts = sorted(Counter(labels).items())
    left = {label: images * count // len(labels) for label, count in counts}
    by_remainder = sorted(counts, key=lambda each: -(images * each[1] % len(labels)))
    for label, _ in by_remainder[: images - sum(left.values())]:
        left[label] += 1

    drawn, rest = [], []
    for place in mixed(range(len(labels)), seed):
        if left[labels[place]]:
            left[labels[place]] -= 1
            drawn.append(place)
        else:
            rest.append(place)
    return drawn, rest
