import math
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from quantbench.results import stats
from quantbench.results.stats import (
    Change,
    bootstrap,
    mcnemar,
    paired_change,
    smallest_detectable_drop,
    wilson,
)

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(
    lambda x: 100.0 * np.array(x).T
)
POINTS = st.floats(1, 99).map(lambda points: round(points, 3))
SCORES = st.lists(st.tuples(POINTS, POINTS), min_size=2, max_size=40).map(lambda x: np.array(x).T)


def scores(right):
    return np.array([100.0 if answer else 0.0 for answer in right])


def bootstrap_change(before, after, **options):
    """Of the mean of score changes."""
    return bootstrap(lambda drawn: float((after - before)[drawn].mean()), len(before), **options)


def test_agresti_min_interval_by_hand():
    # 10 samples, 3 lost, 1 won: centre -2/12, variance (3 + 1 + 1 - 4/12) / 144, z 1.959964.
    before = scores([1, 1, 1, 0, 1, 1, 1, 1, 0, 0])
    after = scores([0, 0, 0, 1, 1, 1, 1, 1, 0, 0])
    change = paired_change(before, after)
    half = 1.959964 * ((5 - 4 / 12) / 144) ** 0.5
    assert change.value == -20.0
    assert change.low == pytest.approx(100 * (-2 / 12 - half), abs=1e-4)
    assert change.high == pytest.approx(100 * (-2 / 12 + half), abs=1e-4)


def test_no_changed_answer_still_has_a_width_that_shrinks_with_samples():
    few, many = (paired_change(scores([1] * n), scores([1] * n)) for n in (20, 2000))
    assert few.value == many.value == 0
    assert few.low == pytest.approx(-few.high)
    assert 8 < few.high < 10
    assert many.high < 0.1 + few.high / 50


def test_other_scores_get_students_interval():
    # differences 1, 2, 3: mean 2, standard deviation 1, t(0.975, 2) = 4.302653.
    change = paired_change(np.array([1001.0, 1001.0, 1001.0]), np.array([1002.0, 1003.0, 1004.0]))
    assert change.value == 2.0
    assert change.high - change.value == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def test_one_sample_of_a_score_tells_nothing():
    change = paired_change(np.array([100.5]), np.array([101.5]))
    assert (change.low, change.high) == (-np.inf, np.inf)


def test_scores_without_bounds_of_which_none_changed_tell_nothing():
    change = paired_change(np.array([1.5, 200.0]), np.array([1.5, 200.0]))
    assert change == Change(0.0, -np.inf, np.inf)


def test_other_scores_of_a_percentage_by_hand():
    # Changes -0.5, -0.25 and 0.1 of 3: with 2 samples more sum -0.65, squares 1.3225, t(0.975, 4) = 2.776445.
    change = paired_change(np.array([100.0, 50.0, 10.0]), np.array([50.0, 25.0, 20.0]))
    half = 2.776445 * ((1.3225 - 0.65**2 / 5) / 4 / 5) ** 0.5
    assert change.value == pytest.approx(-65 / 3)
    assert (change.low, change.high) == pytest.approx((100 * (-0.13 - half), 100 * (-0.13 + half)), abs=1e-4)


@given(ANSWERS)
def test_a_percentage_is_never_surer_than_right_or_wrong_answers(sides):
    before, after = sides
    sharp = paired_change(before, after)
    nearly = paired_change(np.clip(before, 1e-9, None), np.clip(after, 1e-9, None))
    assert nearly.low <= sharp.low + 1e-6 and nearly.high >= sharp.high - 1e-6


@pytest.mark.parametrize("samples", [20, 50, 200, 1000])
@pytest.mark.parametrize("changed", [0.002, 0.01, 0.05, 0.2])
def test_coverage_of_the_interval_of_f1(samples, changed):
    """Few answers change, most of them for the worse and many of these all the way: seeded, so shares are fixed."""
    generator = np.random.default_rng(0)
    sizes, weights = np.array([40.0, 50.0, 200 / 3, 80.0, 100.0]), [0.1, 0.2, 0.2, 0.1, 0.4]
    truth, covered = -changed * 0.6 * float(sizes @ weights), 0
    for _ in range(500):
        moved = generator.choice(sizes, samples, p=weights) * (generator.random(samples) < changed)
        lost = generator.random(samples) < 0.8
        change = paired_change(np.where(lost, moved, 0.0), np.where(lost, 0.0, moved))
        covered += change.low <= truth <= change.high
    assert covered / 500 > 0.93


@pytest.mark.parametrize("samples", [20, 100])
@pytest.mark.parametrize("changed", [0.002, 0.01, 0.05])
def test_coverage_of_a_bootstrap_of_word_errors(samples, changed):
    """Few utterances change, and then half of their words are lost."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        words = generator.integers(4, 13, samples)
        lost = (words // 2) * (generator.random(samples) < changed)
        found = bootstrap(lambda d, w=words, e=lost: -100 * e[d].sum() / w[d].sum(), samples, resamples=200)
        change = stats.widened(found, samples, int((lost == 0).sum()))
        truth = -100 * changed * np.mean([k // 2 for k in range(4, 13)]) / 8
        covered += change.low <= truth <= change.high
    assert covered / 200 > 0.93


def test_a_bootstrap_in_which_every_sample_changed_is_as_wide_as_it_was():
    change = Change(-1.0, -2.0, 1.0)
    assert stats.widened(change, 20, unchanged=0) == change
    assert stats.widened(change, 20, unchanged=20).low == pytest.approx(-1 - math.hypot(1, 195.9964 / 22), abs=1e-4)


@given(ANSWERS)
def test_interval_holds_the_change_and_stays_on_the_scale(sides):
    before, after = sides
    change = paired_change(before, after)
    assert -100 <= change.low <= change.value <= change.high <= 100
    swapped = paired_change(after, before)
    assert swapped.low == pytest.approx(-change.high)


def test_coverage_of_the_interval():
    # 4 % lost, 1 % won: the true change is -3 points. Seeded, so the share is a fixed number.
    generator = np.random.default_rng(0)
    draws = generator.choice([-1, 1, 0], p=[0.04, 0.01, 0.95], size=(2000, 300))
    covered = 0
    for draw in draws:
        before, after = np.where(draw == -1, 100.0, np.where(draw == 1, 0.0, 100.0)), np.where(draw == -1, 0.0, 100.0)
        change = paired_change(before, after)
        covered += change.low <= -3 <= change.high
    assert 0.93 < covered / 2000 < 0.98


@pytest.mark.parametrize("statistic", [paired_change, mcnemar, smallest_detectable_drop])
@pytest.mark.parametrize("before, after", [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_scores_are_refused(statistic, before, after):
    with pytest.raises(ValueError, match="paired scores"):
        statistic(np.array(before), np.array(after))


@given(SCORES)
def test_adding_to_the_scores_moves_no_interval_and_adding_to_one_side_moves_it(sides):
    before, after = sides[0] + 100, sides[1] + 100
    for statistic in (paired_change, lambda *scores: bootstrap_change(*scores, resamples=20)):
        change, moved = statistic(before, after), statistic(before + 7, after + 10)
        assert moved.value == pytest.approx(change.value + 3)
        assert (moved.low, moved.high) == pytest.approx((change.low + 3, change.high + 3))


@pytest.mark.parametrize("confidence, low, high", [(0.3, 1, 1), (0.8, 0, 2), (0.95, 0, 3)])
def test_bootstrap_percentiles_by_full_enumeration(confidence, low, high):
    # Differences 0, 0, 3: of the 27 draws of three, 8 have the mean 0, 12 have 1, 6 have 2 and 1 has 3.
    means = [sum(draw) / 3 for draw in product((0, 0, 3), repeat=3)]
    assert [means.count(mean) for mean in range(4)] == [8, 12, 6, 1]
    change = bootstrap_change(np.zeros(3), np.array([0.0, 0.0, 3.0]), confidence=confidence)
    assert (change.value, change.low, change.high) == (1, low, high)


def test_bootstrap_equals_scipys():
    generator = np.random.default_rng(3)
    before, after = generator.gamma(2, 5, 60), generator.gamma(2, 6, 60)
    mine = bootstrap_change(before, after, resamples=5000, confidence=0.9)
    theirs = scipy.stats.bootstrap(
        (before, after),
        lambda x, y, axis: (y - x).mean(axis),
        paired=True,
        n_resamples=5000,
        confidence_level=0.9,
        method="percentile",
        rng=0,
    ).confidence_interval
    # The error of a 5 % quantile from 5000 draws is about 0.03 standard errors of the mean.
    error = (after - before).std() / 60**0.5
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=0.2 * error)


def test_bootstrap_of_an_error_rate_over_the_corpus():
    # The long sentence goes from 2 to 4 errors in 8 words, the short one from 1 to 0 in 2. The corpus goes from 3 to 4
    # errors in 10 words; the mean of the sentences' own rates falls from (25 + 50) / 2 to (50 + 0) / 2.
    words, before, after = np.array([8, 2]), np.array([2, 1]), np.array([4, 0])

    def error_rate(indices):
        return 100 * (after[indices].sum() - before[indices].sum()) / words[indices].sum()

    # Drawn: twice the long one (+25), one of each (+10), twice the short one (-50), with shares 1/4, 1/2, 1/4.
    assert bootstrap(error_rate, 2) == Change(10, -50, 25)
    assert bootstrap(error_rate, 2, confidence=0.4) == Change(10, 10, 10)


def test_bootstrap_covers_the_change_of_an_error_rate():
    # Sentences of 3 to 20 words; one in four gains an error. The true change is 25 errors in 1150 words.
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        words, errors = generator.integers(3, 21, 80), generator.random(80) < 0.25
        change = bootstrap(lambda i, e=errors, w=words: 100 * e[i].sum() / w[i].sum(), 80, resamples=200, seed=seed)
        covered += change.low <= 2500 / 1150 <= change.high
    low, high = scipy.stats.binom.ppf([0.001, 0.999], 300, 0.95)
    assert low <= covered <= high


def test_bootstrap_depends_on_the_seed_and_nothing_else():
    before, after = np.random.default_rng(0).normal(size=(2, 50))
    assert bootstrap_change(before, after) == bootstrap_change(before, after)
    assert bootstrap_change(before, after).low != bootstrap_change(before, after, seed=1).low


def test_bootstrap_where_nothing_varies():
    assert bootstrap_change(np.arange(5.0), np.arange(5.0) + 2) == Change(2, 2, 2)
    assert bootstrap_change(np.array([1.0]), np.array([3.0])) == Change(2, -math.inf, math.inf)


def test_bootstrap_refuses_an_undefined_statistic():
    with pytest.raises(ValueError, match="undefined for 500 of 500 draws"):
        bootstrap(lambda indices: math.nan, 10, resamples=500)
    with pytest.raises(ValueError, match="needs a sample"):
        bootstrap(lambda indices: 0.0, 0)


@given(SCORES)
def test_bootstrap_stays_among_the_differences_and_turns_round_with_the_scores(sides):
    before, after = sides
    change, swapped = bootstrap_change(before, after, resamples=20), bootstrap_change(after, before, resamples=20)
    assert min(after - before) - 1e-9 <= change.low <= change.high <= max(after - before) + 1e-9
    expected = (-change.value, -change.high, -change.low)
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx(expected, abs=1e-9)


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
