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
