"""The intrinsic dimension of a set of images: how many numbers it takes to say which image of the set one is.

Both estimators look at distances to nearest neighbours in pixel space and at nothing but their ratios, so stored pixels
(0 to 255) and pixels scaled to [0, 1] give the same. Estimates rise with the number of images: compare only sets of one
size.
"""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["levina_bickel", "neighbour_distances", "two_nn"]

_BLOCK = 2**24  # products of one block: 64 MB of float32
_SPARE = 8  # candidates beyond those that are asked for, since products are rounded


@torch.no_grad()
def neighbour_distances(images: Tensor, k: int, points: int | None = None) -> Tensor:
    """Euclidean distances to the k nearest other images, ascending.

    Neighbours are found by |a|^2 + |b|^2 - 2ab in float32, of centred images and in blocks. That loses the digits of
    small distances, so a few more are taken and their distances computed again from differences, which is exact for
    stored pixels (uint8). Images at distance 0 (the image itself, and copies of it) are no neighbours: the estimators
    divide by distances.

    Args:
        images: [N, ...], numbers of any kind on any device; the work is done there.
        k: neighbours.
        points: look at the first so many images only, with neighbours among all; None for all.

    Returns:
        float64 [points, k], on the images' device.

    Raises:
        ValueError: an image has fewer than `k` others that differ from it.
    """
    flat = images.flatten(1)
    centred = flat.float()
    centred = centred - centred.mean(0)
    norms = centred.square().sum(1)
    count = len(flat) if points is None else min(points, len(flat))
    found = []
    for rows in torch.arange(count, device=flat.device).split(max(1, _BLOCK // len(flat))):
        near = torch.addmm(norms[None], centred[rows], centred.T, alpha=-2)  # without |a|^2: the order is the same
        wanted = k + 1 + _SPARE
        while True:
            candidates = near.topk(min(wanted, len(flat)), largest=False, sorted=False).indices
            nearest = _distances(flat, rows, candidates).sort(1).values[:, :k]
            if nearest.shape[1] == k and bool(nearest.isfinite().all()):
                break
            if wanted >= len(flat):
                raise ValueError(
                    f"an image has fewer than {k} others that differ from it, of {len(flat)} in all. Give more images."
                )
            wanted *= 4  # many copies of one image
        found.append(nearest)
    return torch.cat(found)


def _distances(images: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    """Distances [R, C] of the images [N, D] at `rows` [R] to those at `candidates` [R, C]; infinite where 0."""
    squares = [
        (images[near].double() - images[own, None].double()).square().sum(2)
        for own, near in zip(rows.split(16), candidates.split(16), strict=True)
    ]
    distances = torch.cat(squares).sqrt()
    return torch.where(distances > 0, distances, torch.inf)


def levina_bickel(distances: Tensor, average: Literal["harmonic", "mean"] = "harmonic") -> float:
    """The maximum-likelihood estimate from the distances T_1 <= ... <= T_k to the k nearest neighbours.

    At an image x it is m(x) = [1 / (k - 1) sum_{j < k} ln(T_k(x) / T_j(x))]^-1 (Levina, Bickel, "Maximum Likelihood
    Estimation of Intrinsic Dimension", NIPS 2004, equation 8). Over images the inverses are averaged, as the likelihood
    of all of them together has it (MacKay, Ghahramani, "Comments on 'Maximum Likelihood Estimation of Intrinsic
    Dimension'", 2005). Levina and Bickel average the m(x) themselves, which comes out higher.

    Args:
        distances: [points, k], positive and ascending; see `neighbour_distances`.
        average: `harmonic` (MacKay and Ghahramani) or `mean` (Levina and Bickel; infinite where an image has all its
            neighbours at one distance).

    Raises:
        ValueError: there are fewer than two neighbours.
    """
    if distances.shape[1] < 2:
        raise ValueError(f"distances to {distances.shape[1]} neighbours: the estimate needs two or more.")
    inverse = (distances[:, -1:] / distances[:, :-1]).log().mean(1)
    return float(1 / inverse.mean() if average == "harmonic" else (1 / inverse).mean())


def two_nn(distances: Tensor, discard: float = 0.1) -> float:
    """The estimate from the ratios mu of the distances to the two nearest neighbours.

    Source: Facco, d'Errico, Rodriguez, Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information", Scientific Reports 2017. Where density is constant up to the second neighbour, F(mu) = 1 - mu^-d: d is
    the slope of the line through the origin that fits -ln(1 - F) over ln(mu) best, F being the empirical distribution.

    Args:
        distances: [points, 2 or more], positive and ascending; see `neighbour_distances`.
        discard: share of the largest ratios that are left out of the fit, as in the paper.

    Raises:
        ValueError: fewer than two ratios are left.
    """
    ratios = (distances[:, 1] / distances[:, 0]).log().sort().values
    kept = int(len(ratios) * (1 - discard))
    if kept < 2:
        raise ValueError(f"{kept} of {len(ratios)} ratios are left to fit a line through. Give more images.")
    below = torch.arange(1, kept + 1, dtype=torch.float64, device=ratios.device) / len(ratios)
    x, y = ratios[:kept], -torch.log1p(-below)
    return float((x @ y) / (x @ x))
