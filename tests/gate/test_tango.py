import math

import pytest
from scipy.optimize import minimize_scalar

from quantbench.gate.tango import tango_bounds, tango_score


def by_likelihood(lost, won, samples, drop):
    """The statistic from its definition: the variance at the likeliest share of won answers under the hypothesis."""

    def unlikely(share):
        same = 1 - 2 * share - drop
        return -(lost * math.log(share + drop) + won * math.log(share) + (samples - lost - won) * math.log(same))

    low, high = max(0.0, -drop) + 1e-9, (1 - drop) / 2 - 1e-9
    share = minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (lost - won - samples * drop) / math.sqrt(samples * (2 * share + drop - drop**2))


@pytest.mark.parametrize(
    ("lost", "won", "samples", "drop"),
    [(12, 9, 2000, 0.0093), (12, 2, 44, 0.1), (3, 7, 100, -0.05), (40, 5, 500, 0.0), (1, 1, 20, 0.3)],
)
def test_the_statistic_is_that_of_the_likelihood(lost, won, samples, drop):
    assert tango_score(lost, won, samples, drop) == pytest.approx(by_likelihood(lost, won, samples, drop), abs=1e-4)


def test_no_hypothesis_of_a_drop_is_mcnemars_statistic():
    assert tango_score(16, 4, 100, 0.0) == pytest.approx((16 - 4) / math.sqrt(16 + 4))


def test_where_no_answer_changed_the_drop_alone_has_a_variance():
    assert tango_score(0, 0, 200, 0.01) == pytest.approx(-math.sqrt(200 * 0.01 / 0.99))
    assert tango_score(0, 0, 200, 0.0) == 0.0
    assert tango_score(5, 0, 5, 1.0) == 0.0
    assert tango_score(0, 0, 5, 1.0) == -math.inf


def test_bounds_are_where_the_statistic_is_the_quantile_and_mirror_each_other():
    low, high = tango_bounds(16, 4, 100, 1.96)
    assert tango_score(16, 4, 100, low) == pytest.approx(1.96)
    assert tango_score(16, 4, 100, high) == pytest.approx(-1.96)
    assert tango_bounds(4, 16, 100, 1.96) == pytest.approx((-high, -low))


def test_the_bound_of_no_changed_answer():
    low, high = tango_bounds(0, 0, 200, 1.645)
    assert high == pytest.approx(1.645**2 / (200 + 1.645**2))  # n d / (1 - d) = z^2
    assert low == pytest.approx(-high)
