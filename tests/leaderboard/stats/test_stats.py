"""The functions behind the ranking, against scipy and against numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from bench.leaderboard.stats.bootstrap import image_half_width, image_seed_intervals
from bench.leaderboard.stats.equivalence import equivalent, smallest_margin
from bench.leaderboard.stats.errors import binomial_unit, log_error, points, points_margin, rounding_variance
from bench.leaderboard.stats.pairs import all_pairs, holm, in_families, pooled_correlation, rank_intervals
from bench.leaderboard.stats.power import detectable_difference
from bench.leaderboard.stats.rows import row_statistics
from bench.leaderboard.stats.variances import Moderated, moderate, prior_degrees

NONE = np.zeros(1)


def alone(variance: float, degrees: float, rows: int) -> Moderated:
    return Moderated(np.full(rows, variance), np.full(rows, degrees))


def test_the_logarithm_of_no_errors_is_finite() -> None:
    # (0 + 0.5) / 401 and (8 + 0.5) / 401.
    assert np.exp(log_error(np.array([0.0, 0.02]), 400)) == pytest.approx([0.5 / 401, 8.5 / 401])


def test_the_binomial_variance_of_a_logarithm() -> None:
    generator = np.random.default_rng(1)
    for error in (0.02, 0.2):
        drawn = generator.binomial(20_000, error, 20_000) / 20_000
        assert np.log(drawn).var() * 20_000 == pytest.approx(float(binomial_unit(np.log(error))), rel=0.05)


def test_points_and_back() -> None:
    # Around 2 %, 0.5 apart: 0.02 (e^0.25 - e^-0.25) = 0.010104.
    middle = np.log(np.array(0.02))
    assert float(points(middle, np.array(0.5))) == pytest.approx(0.010104, abs=1e-6)
    assert float(points_margin(middle, points(middle, np.array(0.5)))) == pytest.approx(0.5)


def test_rounding_is_a_twelfth_of_the_square_of_an_image() -> None:
    # One image of 100 at 20 %: d ln e = 0.01 / 0.2 = 0.05; its square / 12, in units of (1 - e) / e = 4.
    assert float(rounding_variance(np.log(np.array(0.2)), 100)) == pytest.approx(0.05**2 / 12 / 4)


def test_the_prior_is_limmas() -> None:
    """s^2 = s0^2 F(d, d0): many rows give s0 and d0 back."""
    generator = np.random.default_rng(2)
    own = np.full(20_000, 4.0)
    variance = 0.3 * stats.f.rvs(4, 6, size=20_000, random_state=generator)
    from scipy.special import digamma

    location = np.log(variance) - digamma(own / 2) + np.log(own / 2)
    assert float(prior_degrees(location, own)) == pytest.approx(6, rel=0.1)
    alike = np.log(0.3 * stats.chi2.rvs(4, size=20_000, random_state=generator) / 4) - digamma(2) + np.log(2)
    assert float(prior_degrees(alike, own)) > 100


def test_a_row_is_shrunk_towards_the_others() -> None:
    variance = np.array([1.0] * 9 + [2.0])
    found = moderate(variance, np.full(10, 5), np.zeros(10, dtype=int), np.zeros(10))
    # Ten rows that differ less than chance would have them: d0 is large, each borrows twice its own 4.
    assert found.degrees == pytest.approx(12)
    # (8 s0^2 + 4 s^2) / 12: half a unit of s^2 is worth a sixth.
    assert found.variance[-1] - found.variance[0] == pytest.approx(1 / 3)


def test_a_row_that_does_not_fit_keeps_its_own() -> None:
    found = moderate(np.array([1.0] * 9 + [64.0]), np.full(10, 5), np.zeros(10, dtype=int), np.zeros(10))
    assert (found.variance[-1], found.degrees[-1]) == (64, 4)
    assert found.degrees[0] > 4


def test_two_rows_lend_each_other_nothing() -> None:
    found = moderate(np.array([1.0, 3.0]), np.full(2, 5), np.zeros(2, dtype=int), np.zeros(2))
    assert found.variance.tolist() == [1, 3]
    assert found.degrees.tolist() == [4, 4]


def test_a_target_whose_rows_vary_more_has_a_prior_of_its_own() -> None:
    variance = np.array([1.0] * 6 + [4.0] * 6)
    target = np.repeat([0, 1], 6)
    found = moderate(variance, np.full(12, 5), target, np.zeros(12))
    together = moderate(variance, np.full(12, 5), np.zeros(12, dtype=int), np.zeros(12))
    assert found.variance[-1] > together.variance[-1]
    assert found.variance[0] == pytest.approx(together.variance[0])  # and never a smaller one


def test_no_spread_is_taken_for_a_rounded_one() -> None:
    found = moderate(np.array([0.0, 1.0]), np.full(2, 5), np.zeros(2, dtype=int), np.array([0.2, 0.2]))
    assert found.variance.tolist() == [0.2, 1]


def test_without_a_prior_the_test_is_welchs() -> None:
    generator = np.random.default_rng(3)
    a, b = np.log(generator.uniform(0.01, 0.03, (2, 5)))
    values = np.stack([a, b])
    own = Moderated(values.var(axis=1, ddof=1), np.full(2, 4.0))
    pairs = all_pairs(values.mean(axis=1), own, np.ones((2, 5), dtype=bool), 0.0)
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert pairs.p[0] == pytest.approx(expected.pvalue)
    assert pairs.difference[0] - pairs.half_width()[0] == pytest.approx(expected.confidence_interval().low)


def test_pairing_takes_the_correlation_off() -> None:
    known = np.ones((2, 5), dtype=bool)
    pairs = [all_pairs(np.array([0.0, 0.1]), alone(0.04, 8, 2), known, each) for each in (0.0, 0.5)]
    # 2 x 0.04 / 5 = 0.016; half of it at a correlation of 0.5.
    assert [float(each.error[0] ** 2) for each in pairs] == pytest.approx([0.016, 0.008])
    apart = np.array([[True] * 3 + [False] * 3, [False] * 3 + [True] * 3])
    assert float(all_pairs(np.zeros(2), alone(0.04, 8, 2), apart, 0.5).error[0] ** 2) == pytest.approx(2 * 0.04 / 3)


def test_the_correlation_is_pooled_and_has_to_show_itself() -> None:
    generator = np.random.default_rng(4)
    target = np.repeat([0, 1, 2], 9)
    independent = generator.normal(size=(200, 27, 5))
    shared = generator.normal(size=(200, 1, 5)) + generator.normal(size=(200, 27, 5))
    assert float(np.median(pooled_correlation(independent, target))) == 0
    assert float(pooled_correlation(independent, target).mean()) < 0.02
    assert float(pooled_correlation(shared, target).mean()) == pytest.approx(0.43, abs=0.05)
    two = generator.normal(size=(2, 5))
    assert float(pooled_correlation(np.stack([two[0], two[0] + two[1]]), np.zeros(2, dtype=int))) < 0.5


def test_holm_by_hand() -> None:
    # 0.01 x 4, then 0.02 x 3 = 0.06, then 0.03 x 2 = 0.06, then 0.5 x 1.
    assert holm(np.array([0.03, 0.5, 0.01, 0.02])) == pytest.approx([0.06, 0.5, 0.04, 0.06])


def test_holm_never_falls_and_never_exceeds_one() -> None:
    # 0.3 x 3 = 0.9; 0.4 x 2 = 0.8 is raised to 0.9; 0.95 stays.
    assert holm(np.array([0.3, 0.4, 0.95])) == pytest.approx([0.9, 0.9, 0.95])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).tolist() == []


def test_fewer_seeds_are_a_family_of_their_own() -> None:
    p = np.array([0.01, 0.02, 0.001, 0.002])
    corrected, level = in_families(p, np.array([True, True, False, False]))
    assert corrected == pytest.approx([0.02, 0.02, 0.002, 0.002])
    assert level.tolist() == [0.04, 0.04, 0.01, 0.01]


def test_rank_intervals_by_hand() -> None:
    """Of four rows 0 beats 2 and 3, and 1 beats 3."""
    first, second = np.triu_indices(4, 1)
    better = np.array([0, 1, 1, 0, 1, 0])  # 01 02 03 12 13 23
    assert rank_intervals(first, second, better, 4).tolist() == [[1, 2], [1, 3], [2, 4], [3, 4]]
    assert rank_intervals(first, second, -better, 4).tolist() == [[3, 4], [2, 4], [1, 3], [1, 2]]


def test_equivalence_by_hand() -> None:
    """Difference 0.1, error 0.1, many degrees: within 0.3 t = -2, p = 0.023; within 0.2 t = -1, p = 0.16."""
    pairs = all_pairs(np.array([0.0, 0.1]), alone(0.025, 1e6, 2), np.ones((2, 5), dtype=bool), 0.0)
    middle = np.log(np.array([0.02]))
    within = [float(points(middle, np.array([margin]))[0]) for margin in (0.3, 0.2)]
    assert [bool(equivalent(pairs, middle, margin)[0]) for margin in within] == [True, False]
    # The smallest: 0.1 + z(0.96) x 0.1 = 0.27507.
    smallest = smallest_margin(pairs, middle, np.array([True]))
    assert float(points_margin(middle, smallest)[0]) == pytest.approx(0.27507, abs=1e-3)
    assert smallest_margin(pairs, middle, np.array([False])) == 0


def test_what_could_have_been_found_is_found_in_four_of_five_tables() -> None:
    least = detectable_difference(error=0.1, degrees=16, level=0.04, pairs=6)
    generator = np.random.default_rng(5)
    t = (least / 0.1 + generator.normal(size=40_000)) / np.sqrt(generator.chisquare(16, 40_000) / 16)
    assert (np.abs(t) > stats.t.ppf(1 - 0.04 / 6 / 2, 16)).mean() == pytest.approx(0.8, abs=0.01)


def test_rows_with_other_seeds_stand_beside_each_other() -> None:
    errors = np.array([[0.10, 0.11, 0.09, 0.10, 0.10], [0.20, 0.21, 0.19, np.nan, np.nan], [0.1, 0.1, 0.11, 0.09, 0.1]])
    statistics = row_statistics(errors, np.zeros(3, dtype=int), 1000)
    pairs = statistics.pairs(np.arange(3))
    assert pairs.five.tolist() == [False, True, False]
    assert pairs.p[0] < 0.001
    assert pairs.p[1] > 0.3
    assert statistics.known.sum(axis=1).tolist() == [5, 3, 5]


def test_redrawn_images_have_the_binomial_spread() -> None:
    """Equal seeds: nothing but the images varies. 1.96 sqrt(0.1 / 10,000) = 0.0062 for one difference in ten."""
    right = np.arange(10_000) % 10 > 0
    rows = [np.stack([right] * 5).astype(np.uint8), np.ones((5, 10_000), dtype=np.uint8)]
    ((low, high),) = image_seed_intervals(rows, np.array([1]), np.array([0]))
    assert (low, high) == (pytest.approx(0.1 - 0.00588, abs=6e-4), pytest.approx(0.1 + 0.00588, abs=6e-4))
    assert image_half_width(0.1, 10_000) == pytest.approx(0.006198, abs=1e-6)


def test_seeds_that_vary_widen_the_interval() -> None:
    image = np.arange(10_000)
    steady = np.stack([image < 9000] * 5).astype(np.uint8)
    varying = np.stack([image < 9000 + change for change in (-300, -150, 0, 150, 300)]).astype(np.uint8)
    intervals = image_seed_intervals([steady, varying, steady], np.array([0, 0]), np.array([1, 2]))
    assert np.diff(intervals[0])[0] > 0.02
    assert np.diff(intervals[1])[0] == 0
