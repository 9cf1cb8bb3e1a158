import math

import numpy as np
import pytest
from scipy.stats import norm, t

from quantbench.gate.drop import Answers, Mean
from quantbench.results.matched import score


def test_answers():
    effect = Answers(12, 2, 1000)
    assert effect.drop == 1.0
    low, high = effect.bounds(0.95)
    assert score(12, 2, 1000, low / 100) == pytest.approx(1.6449, abs=1e-4)
    assert score(12, 2, 1000, high / 100) == pytest.approx(-1.6449, abs=1e-4)
    assert effect.p_above(0.5) == pytest.approx(norm.sf(score(12, 2, 1000, 0.005)))
    assert effect.excludes(high + 1e-6, 0.95) and not effect.excludes(high - 1e-6, 0.95)


def test_the_drop_that_can_be_seen_is_seen_four_times_of_five():
    """Drawn from two Poisson distributions with the churn and the drop that the formula is given."""
    samples, churn_pairs, tolerance = 4000, 20, 1.0
    wanted = Answers(churn_pairs, churn_pairs, samples).detectable(tolerance, 0.95)
    generator = np.random.default_rng(0)
    lost = generator.poisson(churn_pairs + wanted / 100 * samples, 2000)
    won = generator.poisson(churn_pairs, 2000)
    seen = np.mean([Answers(a, b, samples).p_above(tolerance) <= 0.05 for a, b in zip(lost, won, strict=True)])
    assert seen == pytest.approx(0.8, abs=0.04)


def test_what_few_samples_see():
    assert Answers(0, 0, 20).detectable(0.9, 0.95) == pytest.approx(17.7, abs=0.1)
    assert math.isinf(Answers(0, 0, 2).detectable(1.0, 0.999))


def test_a_mean_by_students_distribution():
    effect = Mean(2.0, 0.5, 9)
    reach = 0.5 * t.ppf(0.95, 9)
    assert effect.bounds(0.95) == pytest.approx((2 - reach, 2 + reach))
    assert effect.p_above(1.0) == pytest.approx(t.sf(2.0, 9))
    assert effect.excludes(3.0, 0.95) and not effect.excludes(2.9, 0.95)
    assert effect.detectable(1.0, 0.95) == pytest.approx(1 + 0.5 * (t.ppf(0.95, 9) + t.ppf(0.8, 9)))


@pytest.mark.parametrize(("error", "p_value", "excluded"), [(0.0, 0.0, False), (math.inf, 1.0, False)])
def test_a_mean_without_an_error_and_one_that_nobody_knows(error, p_value, excluded):
    effect = Mean(2.0, error)
    assert effect.p_above(1.0) == p_value
    assert effect.excludes(1.0, 0.95) is excluded
    assert effect.excludes(3.0, 0.95) is (error == 0.0)
