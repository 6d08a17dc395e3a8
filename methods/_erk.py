"""Layerwise densities by Erdos-Renyi-kernel (Evci et al. 2020, section 3): thin layers stay denser than thick ones."""

import math
from collections.abc import Mapping

from torch import Size

from bench import Trial

__all__ = ["erk_counts", "erk_for"]


def erk_counts(shapes: Mapping[str, Size], keep: int) -> dict[str, int]:
    """How many weights of each tensor stay, `keep` in all (where the tensors have so many).

    The density of a tensor [out, in, h, w] is eps (out + in + h + w) / (out in h w), no more than 1; eps is such that
    the counts add up. Rounding is settled on the largest tensors, and every tensor keeps one weight.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    whole: set[str] = set()
    while True:
        rest = keep - sum(sizes[name] for name in whole)
        weight = sum(raw[name] * sizes[name] for name in shapes if name not in whole)
        scale = max(rest, 0) / weight if weight else 0.0
        full = {name for name in shapes if name not in whole and scale * raw[name] >= 1}
        if not full:
            break
        whole |= full
    counts = {name: sizes[name] if name in whole else max(1, round(scale * raw[name] * sizes[name])) for name in shapes}
    missing = min(keep, sum(sizes.values())) - sum(counts.values())
    for name in sorted(sizes, key=lambda each: -sizes[each]):
        before = counts[name]
        counts[name] = min(sizes[name], max(1, before + missing))
        missing -= counts[name] - before
    return counts


def erk_for(trial: Trial) -> dict[str, int]:
    """The counts by parameter name that meet the trial's target. Biases are kept whole, and count in the size."""
    masks = trial.surgery.weights.masks
    biases = {name: mask.numel() for name, mask in masks.items() if mask.dim() < 2}
    weights = {name: mask.shape for name, mask in masks.items() if mask.dim() > 1}
    return biases | erk_counts(weights, trial.surgery.weights_to_keep() - sum(biases.values()))
