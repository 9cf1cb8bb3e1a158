"""What samples can show: exact tests, detectable drops, repeats, and shares of few samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.results import stats
from quantbench.results.stats import (
    Change,
    mcnemar,
    paired_change,
    smallest_detectable_drop,
    wilson,
)
from tests.results.test_stats import ANSWERS, POINTS, SCORES, bootstrap_change, scores


def flips(lost, won, kept):
    return scores([1] * lost + [0] * won + [1] * kept), scores([0] * lost + [1] * won + [1] * kept)


BY_HAND = [(0, 0, 1), (1, 0, 1), (5, 0, 2 / 32), (1, 5, 2 * (1 + 6) / 64), (3, 3, 1)]
# The examples of statsmodels' tests, which took them from the calculator of Vassar College.
PUBLISHED = [(121, 59, 4e-6), (70, 59, 0.378688), (80, 59, 0.089452), (30, 60, 0.00206), (10, 30, 0.002221)]


@pytest.mark.parametrize("lost, won, p", BY_HAND + PUBLISHED)
def test_mcnemar_against_binomials_and_published_values(lost, won, p):
    before, after = flips(lost, won, kept=40)
    assert mcnemar(before, after) == pytest.approx(p, abs=6e-7)
    assert mcnemar(after, before) == mcnemar(before, after)


def test_mcnemar_refuses_other_scores():
    with pytest.raises(ValueError, match="0 or 100"):
        mcnemar(np.array([0.0, 99.0]), np.array([0.0, 100.0]))


def test_detectable_drop_of_right_or_wrong_answers_by_hand():
    # 20 lost and 10 won of 998: churn 21/1000, quantiles 1.644854 + 0.841621. The drop solves its own equation.
    drop = smallest_detectable_drop(*flips(20, 10, kept=968)) / 100
    assert drop == pytest.approx(2.486475 * ((0.021 + drop - drop**2) / 998) ** 0.5, rel=1e-6)
    # No answer changed: churn 1/1000, so that about 7 lost answers are needed.
    assert smallest_detectable_drop(*flips(0, 0, kept=998)) == pytest.approx(0.703, abs=0.001)
    # Half lost, half won of 98: churn 99/100, and no more than all answers can change.
    assert smallest_detectable_drop(*flips(49, 49, kept=0)) / 100 == pytest.approx((6.182557 / 104.182557) ** 0.5)


def test_detectable_drop_of_other_scores_by_hand():
    # Differences 1, 2, 3: standard deviation 1, Student's quantiles (2 degrees) 2.919986 and 1.060660.
    drop = smallest_detectable_drop(np.array([1001.0, 1001.0, 1001.0]), np.array([1002.0, 1003.0, 1004.0]))
    assert drop == pytest.approx((2.919986 + 1.060660) / 3**0.5, rel=1e-6)


@pytest.mark.parametrize(
    "before, after",
    [([101.5], [102.5]), ([1.5, 102.0], [1.5, 102.0]), ([100.0, 100.0], [0.0, 0.0])],
    ids=["one sample", "no difference", "too few answers"],
)
def test_a_sample_that_cannot_tell_detects_no_drop(before, after):
    assert smallest_detectable_drop(np.array(before), np.array(after)) == math.inf


def test_three_answers_can_tell_at_97_percent_but_not_at_99():
    # All lost: centre -3/5 and variance (4 - 9/5) / 25, 2.02 standard errors below 0; the tests ask for 1.88 and 2.33.
    sample = flips(3, 0, kept=0)
    assert smallest_detectable_drop(*sample, confidence=0.97) < 100
    assert smallest_detectable_drop(*sample, confidence=0.99) == math.inf


def detects(before, after):
    return paired_change(before, after, confidence=0.9).high < 0


@pytest.mark.parametrize("samples, lost, won", [(20, 1, 1), (200, 0, 0), (300, 30, 10), (300, 75, 75), (2000, 5, 40)])
def test_detectable_drop_of_right_or_wrong_answers_is_found_as_often_as_promised(samples, lost, won):
    drop = smallest_detectable_drop(*flips(lost, won, samples - lost - won)) / 100
    churn = (2 * min(lost, won) + 1) / (samples + 2)
    shares = [drop + churn / 2, churn / 2, 1 - drop - churn]
    found = sum(detects(*flips(*draw)) for draw in np.random.default_rng(1).multinomial(samples, shares, size=500))
    assert 0.7 < found / 500 < 0.9


@pytest.mark.parametrize("samples", [8, 50, 500])
@pytest.mark.parametrize("noise", ["normal", "rare"])
def test_detectable_drop_of_other_scores_is_found_as_often_as_promised(samples, noise):
    generator = np.random.default_rng(2)

    def differences():
        rare = 1 if noise == "normal" else generator.random(samples) < 0.5  # half of the scores do not change
        return generator.normal(0, 4, samples) * rare

    before, found = np.full(samples, 500.0), 0
    drop = np.mean([smallest_detectable_drop(before, before + differences()) for _ in range(100)])
    for _ in range(500):
        found += detects(before, before + differences() - drop)
    assert 0.7 < found / 500 < 0.9


@pytest.mark.parametrize("samples", [100, 1000])
def test_detectable_drop_of_a_percentage_is_found_as_often_as_promised_or_more_often(samples):
    generator = np.random.default_rng(4)

    def moved(lost):
        shares = [0.02 + lost, 0.02, 0.96 - lost]
        return generator.choice([-60.0, 60.0, 0.0], samples, p=shares)

    def sides(lost):
        change = moved(lost)
        before = np.where(change < 0, 80.0, 20.0)
        return before, before + change

    drop = np.mean([smallest_detectable_drop(*sides(0)) for _ in range(100)])
    assert sum(detects(*sides(drop / 60)) for _ in range(500)) / 500 > 0.7


def test_more_power_or_confidence_needs_a_larger_drop():
    for before, after in (flips(3, 4, kept=90), (np.zeros(4), np.array([1.0, 2.0, 4.0, 0.0]))):
        drop = smallest_detectable_drop(before, after)
        assert drop < smallest_detectable_drop(before, after, power=0.9)
        assert drop < smallest_detectable_drop(before, after, confidence=0.99)


@given(st.one_of(ANSWERS, SCORES), st.randoms())
def test_order_of_the_samples_and_of_the_sides_is_nothing_to_a_detectable_drop(sides, random):
    before, after = sides
    drop = smallest_detectable_drop(before, after)
    assert drop == pytest.approx(smallest_detectable_drop(after, before))
    order = random.sample(range(len(before)), len(before))
    assert drop == pytest.approx(smallest_detectable_drop(before[order], after[order]))
    change, shuffled = paired_change(before, after), paired_change(before[order], after[order])
    expected = pytest.approx((change.value, change.low, change.high), abs=1e-9)
    assert (shuffled.value, shuffled.low, shuffled.high) == expected


@given(st.one_of(ANSWERS, SCORES))
def test_a_bigger_sample_detects_a_smaller_drop(sides):
    before, after = sides
    few = smallest_detectable_drop(before, after)
    many = smallest_detectable_drop(np.tile(before, 4), np.tile(after, 4))
    assert many < few or np.ptp(after - before) == 0
    wide, narrow = paired_change(before, after), paired_change(np.tile(before, 4), np.tile(after, 4))
    assert narrow.high - narrow.low <= wide.high - wide.low + 1e-9  # equal differences: both are 0, up to rounding


def test_detectable_drop_by_an_interval_by_hand():
    # Half width 1.959964 is a standard error of 1; z(0.95) + z(0.8) = 1.644854 + 0.841621.
    drop = stats.detectable_by_interval(Change(-7.0, -1.959964, 1.959964))
    assert drop == pytest.approx(2.486475, abs=1e-5)
    assert stats.detectable_by_interval(Change(0.0, 3.0, 3.0 + 2 * 1.959964)) == pytest.approx(drop, abs=1e-5)
    wide = Change(0.0, -2 * 1.959964, 2 * 1.959964)
    assert stats.detectable_by_interval(wide, confidence=0.9, power=0.5) == pytest.approx(2 * 1.281552, abs=1e-5)


@pytest.mark.parametrize("change", [Change(0.0, 0.0, 0.0), Change(1.0, -math.inf, math.inf)])
def test_an_interval_that_knows_nothing_detects_no_drop(change):
    assert stats.detectable_by_interval(change) == math.inf


def test_both_ways_to_a_detectable_drop_agree_on_many_scores():
    generator = np.random.default_rng(0)
    before, after = generator.normal(500, 10, (2, 2000))
    exact = smallest_detectable_drop(before, after)
    assert stats.detectable_by_interval(bootstrap_change(before, after)) == pytest.approx(exact, rel=0.05)


def test_repeats_by_hand():
    assert stats.repeats([92.0, 93.0, 95.0, 92.0]) == stats.Repeats(4, 93.0, 2**0.5, 92.0, 95.0)
    assert stats.repeats([90.5]) == stats.Repeats(1, 90.5, None, 90.5, 90.5)
    with pytest.raises(ValueError, match="no run"):
        stats.repeats([])


@given(st.lists(POINTS, min_size=2, max_size=20), POINTS)
def test_repeats_ignore_the_order_and_follow_a_shift(values, shift):
    found, moved = stats.repeats(values), stats.repeats([value + shift for value in values])
    assert found == stats.repeats(sorted(values))
    assert found.low <= found.mean <= found.high
    assert moved.mean == pytest.approx(found.mean + shift)
    assert moved.spread == pytest.approx(found.spread, abs=1e-9)


def test_wilson_with_few_samples():
    # 18 of 20 right: Wilson's interval is 69.90 to 97.21.
    assert wilson(90.0, 20) == pytest.approx((69.90, 97.21), abs=0.005)


def test_wilson_by_hand():
    # Share 0.761, n 50000, z 1.959964: centre 0.760980, half 0.003738.
    assert wilson(76.1, 50_000) == pytest.approx((75.7242, 76.4718), abs=1e-4)


def test_wilson_stays_within_0_and_100():
    # 0 of 10: the upper end is z^2 / (n + z^2) = 3.841459 / 13.841459.
    none, all_right = wilson(0.0, 10), wilson(100.0, 10)
    assert none == pytest.approx((0.0, 27.7533), abs=1e-4)
    assert all_right == pytest.approx((72.2467, 100.0), abs=1e-4)
    assert wilson(-3.0, 10) == none and wilson(100.1, 10) == all_right
