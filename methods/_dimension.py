"""The intrinsic dimension of a set of images: how many numbers it takes to say which image of the set one is.

Both estimators look at the ratios of distances to nearest neighbours in pixel space, so stored pixels (0 to 255) and
pixels scaled to [0, 1] give the same. Estimates rise with the number of images: compare only sets of one size.
"""

import torch
from torch import Tensor

__all__ = ["levina_bickel", "neighbour_distances", "two_nn"]

_SPARE = 32  # candidates beyond those that are asked for: products are rounded, and copies of an image are none


@torch.no_grad()
def neighbour_distances(images: Tensor, k: int, points: int | None = None) -> Tensor:
    """Euclidean distances to the k nearest other images, ascending: float64 [points, k], on the images' device.

    Candidates are found in float32, and their distances computed again from differences, which is exact for stored
    pixels. The image itself and copies of it, at distance 0, are no neighbours; an image with dozens of copies is left
    out.

    Args:
        images: [N, ...], numbers of any kind on any device; the work is done there.
        k: neighbours.
        points: look at the first so many images only, with neighbours among all; None for all.

    Raises:
        ValueError: no image has `k` others that differ from it.
    """
    flat = images.flatten(1)
    centred = flat.float() - flat.float().mean(0)
    found = []
    for rows in torch.arange(len(flat), device=flat.device)[:points].split(64):
        near = torch.cdist(centred[rows], centred).topk(min(k + _SPARE, len(flat)), largest=False).indices
        exact = (flat[near].double() - flat[rows, None].double()).square().sum(2).sqrt()
        found.append(exact.masked_fill(exact == 0, torch.inf).sort(1).values[:, :k])
    distances = torch.cat(found)
    whole = distances.isfinite().all(1)
    if distances.shape[1] < k or not whole.any():
        raise ValueError(f"no image has {k} others that differ from it, of {len(flat)} in all. Give more images.")
    return distances[whole]


def levina_bickel(distances: Tensor) -> float:
    """The maximum-likelihood estimate from distances T_1 <= ... <= T_k [points, k], k of 2 or more.

    At an image x it is m(x) = [1 / (k - 1) sum_{j < k} ln(T_k(x) / T_j(x))]^-1 (Levina, Bickel, "Maximum Likelihood
    Estimation of Intrinsic Dimension", NIPS 2004, equation 8). Over images the inverses are averaged, as the likelihood
    of all of them together has it (MacKay, Ghahramani 2005); Levina and Bickel's mean of m(x) comes out higher.
    """
    return 1 / (distances[:, -1:] / distances[:, :-1]).log().mean().item()


def two_nn(distances: Tensor, discard: float = 0.1) -> float:
    """The estimate from the ratios mu of the distances [points, 2 or more] to the two nearest neighbours.

    Source: Facco, d'Errico, Rodriguez, Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information", Scientific Reports 2017. Where density is constant up to the second neighbour, F(mu) = 1 - mu^-d: d is
    the slope of the line through the origin that fits -ln(1 - F) over ln(mu) best, F being the empirical distribution
    and `discard` the share of the largest ratios that are left out.
    """
    ratios = (distances[:, 1] / distances[:, 0]).log().sort().values
    x = ratios[: max(1, int(len(ratios) * (1 - discard)))]
    y = -torch.log1p(-torch.arange(1, len(x) + 1, dtype=torch.float64, device=x.device) / len(ratios))
    return ((x @ y) / (x @ x)).item()
