import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.stats import paired_change


def scores(right):
    return np.array([100.0 if answer else 0.0 for answer in right])


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
    change = paired_change(np.array([1.0, 1.0, 1.0]), np.array([2.0, 3.0, 4.0]))
    assert change.value == 2.0
    assert change.high - change.value == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def test_one_sample_of_a_score_tells_nothing():
    change = paired_change(np.array([1.5]), np.array([2.5]))
    assert (change.low, change.high) == (-np.inf, np.inf)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_interval_holds_the_change_and_stays_on_the_scale(pairs):
    before, after = (scores(side) for side in zip(*pairs, strict=True))
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


@pytest.mark.parametrize("before, after", [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_scores_are_refused(before, after):
    with pytest.raises(ValueError, match="paired scores"):
        paired_change(np.array(before), np.array(after))
