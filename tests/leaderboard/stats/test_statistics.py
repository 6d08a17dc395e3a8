"""The tests behind the ranking, against scipy and against numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from bench.leaderboard.stats.estimate import Estimate
from bench.leaderboard.stats.statistics import holm, image_half_width, image_intervals, paired_t


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_paired_t_is_scipys() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(0.9, 0.01, (2, 5, 40))
    found, expected = paired_t(a - b), stats.ttest_rel(a, b)
    interval = expected.confidence_interval()
    np.testing.assert_allclose(found.p, expected.pvalue, rtol=1e-9)
    np.testing.assert_allclose(found.mean - found.half_width, interval.low, rtol=1e-9)
    np.testing.assert_allclose(found.mean + found.half_width, interval.high, rtol=1e-9)


def test_a_missing_seed_leaves_the_rest() -> None:
    differences = np.array([[0.01, 0.01], [0.02, 0.02], [np.nan, 0.04], [0.04, np.nan]])
    found = paired_t(differences)
    expected = stats.ttest_1samp([0.01, 0.02, 0.04], 0)
    assert found.n.tolist() == [3, 3]
    assert found.p == pytest.approx([expected.pvalue] * 2)
    assert found.mean == pytest.approx([0.07 / 3] * 2)


def test_equal_differences_are_certain_and_none_at_all_is_nothing() -> None:
    better = paired_t(column(0.92 - 0.90, 0.84 - 0.82, 0.73 - 0.71))  # not equal in floating point
    assert (better.p[0], better.half_width[0]) == (0, 0)
    assert paired_t(column(0.0, 0.0, 0.0)).p[0] == 1


def test_one_image_on_every_seed_is_no_evidence() -> None:
    # Deviation 0, taken as one image of 10,000: t = 0.0001 sqrt(3) / 0.0001 = 1.732, p = 0.2254 with 2 degrees.
    assert paired_t(column(0.0001, 0.0001, 0.0001), resolution=1e-4).p[0] == pytest.approx(0.2254, abs=1e-4)
    assert paired_t(column(0.02, 0.02, 0.02), resolution=1e-4).p[0] < 1e-4


def test_too_few_pairs_give_no_p() -> None:
    found = paired_t(np.array([[0.01, np.nan], [np.nan, np.nan]]))
    assert found.mean[0] == pytest.approx(0.01)
    assert np.isnan([*found.p, *found.half_width, found.mean[1]]).all()


def test_holm_by_hand() -> None:
    # 0.01 x 4, then 0.02 x 3 = 0.06, then 0.03 x 2 = 0.06, then 0.5 x 1.
    assert holm(np.array([0.03, 0.5, 0.01, 0.02])) == pytest.approx([0.06, 0.5, 0.04, 0.06])


def test_holm_never_falls_and_never_exceeds_one() -> None:
    # 0.3 x 3 = 0.9; 0.4 x 2 = 0.8 is raised to 0.9; 0.95 stays.
    assert holm(np.array([0.3, 0.4, 0.95])) == pytest.approx([0.9, 0.9, 0.95])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


def test_holm_keeps_the_family_wise_error() -> None:
    generator = np.random.default_rng(2)
    p = generator.random((4000, 10))
    wrong = np.mean([(holm(row) < 0.05).any() for row in p])
    assert wrong == pytest.approx(0.05, abs=0.015)


def test_the_bootstrap_is_scipys() -> None:
    generator = np.random.default_rng(3)
    difficulty = generator.random(2000)
    right = generator.random((2, 3, 2000)) > 0.3 * difficulty
    right[0] |= generator.random((3, 2000)) < 0.1
    sums = right.sum(axis=1)
    ((low, high),) = image_intervals(sums, 3, np.array([0]), np.array([1]))
    by_image = (sums[0] - sums[1]) / 3
    rival = stats.bootstrap(
        (by_image,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    width = rival.high - rival.low
    assert (low, high) == (pytest.approx(rival.low, abs=0.05 * width), pytest.approx(rival.high, abs=0.05 * width))


def test_the_bootstrap_does_not_hang_on_the_company() -> None:
    generator = np.random.default_rng(5)
    sums = generator.integers(0, 6, (4, 1000))
    first, second = np.triu_indices(4, k=1)
    all_six = image_intervals(sums, 5, first, second)
    alone = image_intervals(sums[[1, 3]], 5, np.array([0]), np.array([1]))
    assert np.array_equal(all_six[4], alone[0])
    reverse = image_intervals(sums[[1, 3]], 5, np.array([1]), np.array([0]))
    np.testing.assert_allclose(reverse[0], -alone[0][::-1], atol=1e-12)


def test_rows_that_are_right_on_the_same_images_differ_by_nothing() -> None:
    sums = np.array([[3, 0, 3, 1]] * 2)
    assert image_intervals(sums, 3, np.array([0]), np.array([1])).tolist() == [[0.0, 0.0]]


def test_the_floor_of_independent_networks_by_hand() -> None:
    # p = 0.9 on 400 images: 1.96 sqrt(2 x 0.9 x 0.1 / 400) = 0.041578.
    assert image_half_width(2 * 0.9 * 0.1, 400) == pytest.approx(0.041578, abs=1e-6)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_coverage_of_the_student_interval(n: int) -> None:
    generator = np.random.default_rng(n)
    samples = generator.normal(0.9, 0.004, (4000, n))
    covered = [abs(each.mean - 0.9) <= (each.half_width or 0) for each in map(Estimate.of, samples.tolist())]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_coverage_of_paired_differences_on_a_test_split(n: int) -> None:
    """Two methods, one half a point better, each seed a network with a skill of its own, scored on 10,000 images."""
    generator = np.random.default_rng(10 + n)
    repetitions, gap = 20_000, 0.005
    skill = generator.normal(0.95, 0.003, (n, repetitions)), generator.normal(0.95 - gap, 0.003, (n, repetitions))
    first, second = (generator.binomial(10_000, each) / 10_000 for each in skill)
    found = paired_t(first - second, resolution=1e-4)
    covered = np.abs(found.mean - gap) <= found.half_width
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_coverage_of_the_bootstrap_over_test_images() -> None:
    """Networks with known chances on each kind of image, scored on many made-up splits of 500 images."""
    generator = np.random.default_rng(20)
    repetitions, images, seeds = 1000, 500, 5
    hard = generator.random((repetitions, images)) < 0.3
    first = generator.binomial(seeds, np.where(hard, 0.80, 0.97))
    second = generator.binomial(seeds, np.where(hard, 0.70, 0.97))
    truth = 0.3 * 0.10
    pairs = np.array([0]), np.array([1])
    intervals = np.array(
        [image_intervals(np.stack(both), seeds, *pairs)[0] for both in zip(first, second, strict=True)]
    )
    covered = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
