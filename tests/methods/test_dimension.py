"""Intrinsic dimension: by hand, against scikit-dimension on manifolds of known dimension, and on real images."""

import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.data.base import dataset
from bench.data.splits import split_images
from bench.methods._dimension import levina_bickel, neighbour_distances, two_nn
from bench.specs.track import load_track


def manifold(kind: str, dimension: int, images: int = 5000) -> Tensor:
    """Points of a cube, or of a sphere's surface, turned into 784 dimensions."""
    drawn = torch.Generator().manual_seed(dimension)
    if kind == "cube":
        points = torch.rand(images, dimension, generator=drawn, dtype=torch.float64)
    else:
        points = torch.randn(images, dimension + 1, generator=drawn, dtype=torch.float64)
        points /= points.norm(dim=1, keepdim=True)
    axes, _ = torch.linalg.qr(torch.randn(784, points.shape[1], generator=drawn, dtype=torch.float64))
    return points @ axes.T


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [2, 5, 10])
@pytest.mark.parametrize("kind", ["cube", "sphere"])
def test_a_manifolds_dimension_is_scikit_dimensions_and_near_the_true_one(kind: str, dimension: int) -> None:
    skdim = pytest.importorskip("skdim")
    images = manifold(kind, dimension)
    distances = neighbour_distances(images, 5)
    found, crossed = levina_bickel(distances), two_nn(distances)
    theirs = skdim.id.MLE().fit(images.numpy(), n_neighbors=5)
    assert found == pytest.approx(theirs.dimension_, rel=1e-4)
    assert crossed == pytest.approx(skdim.id.TwoNN().fit(images.numpy()).dimension_, rel=1e-4)
    assert found == pytest.approx(dimension, rel=0.15)
    assert crossed == pytest.approx(dimension, rel=0.2)


@pytest.mark.parametrize(("name", "published"), [("mnist", 13), pytest.param("cifar10", 26, marks=pytest.mark.slow)])
def test_real_images_come_out_as_published(name: str, published: int) -> None:
    # 1,000 images, with neighbours from the whole training split of the tracks (55,000 and 45,000): 13.47 and 27.46
    folder = os.environ.get("BENCH_TEST_DATA")
    if not folder:
        pytest.skip("BENCH_TEST_DATA names no folder with MNIST and CIFAR-10 in torchvision's layout")
    track = load_track({"mnist": "mnist-lenet5", "cifar10": "cifar10-vgg16"}[name])
    source = dataset(name)
    data = split_images(source, *source.load(Path(folder)), track.validation, torch.device("cpu"))
    distances = neighbour_distances(data.train.pixels, 20, points=1000)
    assert levina_bickel(distances) == pytest.approx(published, abs=2)
    assert levina_bickel(distances) < two_nn(distances) < 1.3 * levina_bickel(distances)


def test_the_maximum_likelihood_estimate_by_hand() -> None:
    # ln(4 / 1) + ln(4 / 2) = ln 8 and ln(9 / 3) + ln(9 / 3) = ln 9, each over k - 1 = 2
    distances = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.0, 9.0]], dtype=torch.float64)
    assert levina_bickel(distances) == pytest.approx(4 / math.log(72))


def test_two_nn_by_hand() -> None:
    # ln(mu) of 1, 2 and 5 with F of 1/3, 2/3 and 1, the last one left out: (ln(3/2) + 2 ln 3) / (1 + 4)
    distances = torch.tensor([[1.0, 2.0], [1.0, 1.0], [1.0, 5.0]], dtype=torch.float64).exp()
    distances[:, 0] = 1.0
    assert two_nn(distances) == pytest.approx((math.log(3 / 2) + 2 * math.log(3)) / 5)


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_distances_are_ascending_and_leave_the_image_itself_out(scale: float) -> None:
    images = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 6.0], [0.0, 10.0]]) * scale
    wanted = torch.tensor([[5.0, 6.0], [13**0.5, 5.0]], dtype=torch.float64) * scale
    torch.testing.assert_close(neighbour_distances(images, 2, points=2), wanted)


def test_copies_of_an_image_are_no_neighbours_of_it() -> None:
    images = torch.tensor([[0], [1], [3], [7]], dtype=torch.uint8).repeat(40, 1)
    with pytest.raises(ValueError, match="no image has 43 others that differ from it, of 43"):
        neighbour_distances(torch.cat([images[::4], images[1:4]]), 43)
    found = neighbour_distances(torch.cat([images[::4][:20], images[1:4]]), 3)
    assert found.tolist() == [[1.0, 3.0, 7.0]] * 20 + [[1.0, 1.0, 1.0], [2.0, 3.0, 3.0], [4.0, 6.0, 7.0]]
    # an image with more copies than candidates has no part
    assert neighbour_distances(torch.cat([images[::4], images[1:4]]), 3).tolist() == found[20:].tolist()


def test_near_copies_of_bright_images_keep_their_exact_distances() -> None:
    # in float32, |a|^2 + |b|^2 - 2ab of numbers near 2e8 is off by more than these distances
    images = torch.full((6, 3, 32, 32), 255, dtype=torch.uint8)
    images[:3] = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for number, pixels in enumerate((1, 4), start=4):
        images[number].view(-1)[:pixels] -= 1
    assert neighbour_distances(images, 2)[3:].tolist() == [[1.0, 2.0], [1.0, 3**0.5], [3**0.5, 2.0]]


def test_blocks_do_not_show() -> None:
    images = torch.rand(150, 9, generator=torch.Generator().manual_seed(0))
    exact = torch.cdist(images.double(), images.double(), compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(neighbour_distances(images, 4), exact.sort(1).values[:, 1:5])


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no image has 3 others"):
        neighbour_distances(torch.rand(3, 2), 3)
