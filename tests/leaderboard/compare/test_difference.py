"""Two networks on the same images: intervals by hand, and how often they hold what they say."""

import base64
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.leaderboard.compare.difference import difference, mcnemar
from bench.leaderboard.stats.correct_bits import checked_bits
from bench.records.record import Measured, Record


@pytest.fixture
def measured(make_record: Callable[..., Record]) -> Callable[[NDArray[np.bool_]], Measured]:
    """`measured(bits)`: a network that gets these test images right."""
    network = make_record().pruned
    assert network is not None

    def make(bits: NDArray[np.bool_]) -> Measured:
        text = base64.b64encode(np.packbits(bits).tobytes()).decode()
        return network.model_copy(update={"correct_test": text, "top1_test": int(bits.sum()) / len(bits)})

    return make


def right(images: int, *wrong: int) -> NDArray[np.bool_]:
    bits = np.ones(images, dtype=bool)
    bits[list(wrong)] = False
    return bits


@pytest.mark.parametrize("images", [1, 7, 8, 9, 400, 10_000])
def test_the_bits_come_back_in_their_number(measured: Callable[..., Measured], images: int) -> None:
    bits = np.random.default_rng(images).random(images) < 0.9
    bits[0] = True
    found = checked_bits(measured(bits))
    assert found is not None and np.array_equal(found, bits)


def test_bits_that_contradict_the_accuracy_are_refused(measured: Callable[..., Measured]) -> None:
    network = measured(right(400, 1, 2)).model_copy(update={"top1_test": 0.97})
    with pytest.raises(ValueError, match=r"398 of about 400 correct bits do not give a top1_test of 0\.97"):
        checked_bits(network)


def test_the_interval_of_one_pair_is_bonett_and_prices(measured: Callable[..., Measured]) -> None:
    """By hand: 12 images only the first gets right, 4 only the second, of 400."""
    first, second = right(400, 0, 1, 2, 3), right(400, *range(4, 16))
    found = difference([(measured(first), measured(second))])
    p12, p21, n = 13 / 402, 5 / 402, 402
    variance = (p12 + p21 - (p12 - p21) ** 2) / n
    assert found.mean == pytest.approx(-8 / 400)
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=2e-3)  # n - 1 there, n here
    half = found.half_width(0.95)
    assert half == pytest.approx(1.966 * math.sqrt(variance), rel=3e-3)


def test_mcnemars_test_is_exact(measured: Callable[..., Measured]) -> None:
    """By hand: 5 against 0 is 2 / 2**5; 3 against 1 is (1 + 4) * 2 / 2**4."""
    five = mcnemar(measured(right(16)), measured(right(16, 1, 2, 3, 4, 5)))
    assert five is not None and (five.only_first, five.only_second, five.p) == (5, 0, pytest.approx(0.0625))
    four = mcnemar(measured(right(16, 0)), measured(right(16, 1, 2, 3)))
    assert four is not None and four.p == pytest.approx(0.625)
    same = mcnemar(measured(right(16)), measured(right(16)))
    assert same is not None and same.p == 1


def test_seeds_that_disagree_widen_the_interval(measured: Callable[..., Measured]) -> None:
    base = measured(right(400))
    agreeing = difference([(base, measured(right(400, *range(8))))] * 3)
    apart = difference([(base, measured(right(400, *range(count)))) for count in (0, 8, 16)])
    assert agreeing.mean == apart.mean == pytest.approx(-0.02)
    assert (apart.half_width(0.95) or 0) > 2 * (agreeing.half_width(0.95) or 0)
    assert apart.degrees < agreeing.degrees


def test_without_bits_only_the_seeds_tell(measured: Callable[..., Measured]) -> None:
    def bare(top1: float) -> Measured:
        return measured(right(8)).model_copy(update={"correct_test": "", "top1_test": top1})

    one = difference([(bare(0.9), bare(0.85))])
    assert (one.images, one.half_width(0.9)) == (None, None)
    two = difference([(bare(0.9), bare(0.85)), (bare(0.9), bare(0.87))])
    assert two.mean == pytest.approx(-0.04)
    assert two.half_width(0.95) == pytest.approx(12.706 * 0.01, rel=1e-3)  # t with one degree of freedom


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_the_interval_covers_what_it_says(measured: Callable[..., Measured], seeds: int) -> None:
    """Networks of equal quality, each image with its own difficulty; with several seeds, each with its own luck."""
    generator = np.random.default_rng(seeds)
    covered = 0
    tries = 400
    for _ in range(tries):
        pairs = []
        hard = generator.beta(0.4, 8, size=400)
        for _ in range(seeds):
            lucks = 1 + (0.1 if seeds > 1 else 0.0) * generator.standard_normal(2)
            first, second = (measured(generator.random(400) > np.clip(hard * luck, 0, 1)) for luck in lucks)
            pairs.append((first, second))
        found = difference(pairs)
        covered += abs(found.mean) <= (found.half_width(0.95) or 0)
    assert covered / tries > 0.93  # it may be wider than it need be, not narrower
