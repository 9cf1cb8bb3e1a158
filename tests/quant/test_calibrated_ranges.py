"""Percentiles whatever the outliers, and what holds for the range of every calibrator."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.quant import QuantizationError
from quantbench.quant.calibrators import CALIBRATORS, max_range, percentile_range
from quantbench.quant.histogram import Histogram, HistogramCounter, equal_bins
from tests.quant.test_calibrators import histograms


@pytest.mark.parametrize(
    ("percentile", "edge"), [(1, 0), (25, 0), (25.1, 1), (50, 1), (75, 2), (75.1, 3), (99.99, 3), (100, 3)]
)
def test_a_percentile_that_is_reached_exactly_takes_that_bin(percentile, edge):
    assert percentile_range(equal_bins(np.full(4, 6, np.int64), 1.0, 0.0, 3.9), 8, percentile) == edge


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.sampled_from([1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]),
    st.sampled_from([50, 90, 99, 99.9, 99.99, 99.999, 99.9999, 100]),
)
def test_a_percentile_is_that_of_the_sorted_values_whatever_the_outliers(seed, outliers, times, percentile):
    random = np.random.default_rng(seed)
    x = random.normal(size=100_000).astype(np.float32)
    x[:outliers] *= np.float32(times)
    counter = HistogramCounter()
    counter.add(torch.from_numpy(x))
    ordered = np.sort(np.abs(x.astype(np.float64)))
    right = ordered[math.ceil(Fraction(str(percentile)) * len(x) / 100) - 1]
    assert percentile_range(counter.histogram(), 8, percentile) == pytest.approx(right, rel=2.0**-11)


def test_no_rounding_takes_the_outlier_after_a_percentile_that_is_reached_exactly():
    x = torch.cat([torch.linspace(1, 2, 99_999), torch.tensor([1e6])])
    counter = HistogramCounter()
    counter.add(x)
    assert percentile_range(counter.histogram(), 8, 99.999) == pytest.approx(2, rel=2.0**-11)


def in_2048_bins(x: torch.Tensor) -> Histogram:
    """Counted by NumPy, from the values themselves."""
    counts, edges = np.histogram(x.abs().double().numpy(), bins=2048, range=(0, float(x.abs().max())))
    return equal_bins(counts.astype(np.int64), float(edges[1]), float(x.min()), float(x.max()))


@pytest.mark.parametrize("name", ["entropy", "mse"])
@pytest.mark.parametrize("times", [0.99, 1.01, 10, 1e2, 1e3, 1e4, 1e5, 1e6])
def test_a_search_sees_2048_bins_wherever_the_largest_value_lies(name, times):
    x = torch.cat([torch.randn(300_000), torch.tensor([64.0 * times])])
    counter = HistogramCounter()
    counter.add(x)
    plain = in_2048_bins(x)
    found, right = CALIBRATORS[name](counter.histogram(), 8), CALIBRATORS[name](plain, 8)
    assert abs(found - right) <= 1.01 * plain.edges[1]


@settings(deadline=None, max_examples=40)
@given(histograms(low=1, high=300), st.floats(0.001, 100))
def test_a_percentile_is_the_left_edge_of_the_bin_that_reaches_it(histogram, percentile):
    result = percentile_range(histogram, 8, percentile)
    below = int((histogram.edges[:-1] < result).argmin()) if (histogram.edges[:-1] >= result).any() else None
    assert 0 <= result <= histogram.largest
    if result < histogram.largest and below is not None:
        assert histogram.counts[:below].sum() <= percentile / 100 * histogram.total * (1 + 1e-9)
        assert histogram.counts[: below + 1].sum() >= percentile / 100 * histogram.total * (1 - 1e-9)


@settings(deadline=None, max_examples=40)
@given(histograms(low=1, high=300), st.floats(0.001, 100), st.floats(0.001, 100))
def test_a_larger_percentile_never_gives_a_smaller_range(histogram, first, second):
    small, large = sorted((first, second))
    assert percentile_range(histogram, 8, small) <= percentile_range(histogram, 8, large)


@pytest.mark.parametrize("percentile", [0, -1, 100.0001, math.nan])
def test_a_percentile_outside_0_to_100_is_refused(percentile):
    with pytest.raises(QuantizationError, match="percentile"):
        percentile_range(equal_bins(np.ones(4, np.int64), 1.0, 0.0, 3.5), 8, percentile)


@settings(deadline=None, max_examples=20)
@given(histograms(), st.integers(2, 8))
def test_max_is_the_largest_value_itself(histogram, bits):
    assert max_range(histogram, bits) == histogram.largest


@pytest.mark.parametrize("name", CALIBRATORS)
@settings(deadline=None, max_examples=20)
@given(histograms(low=1, high=2500), st.integers(2, 8))
def test_a_calibrator_does_not_modify_its_histogram_and_repeats_itself(name, histogram, bits):
    before = histogram.counts.copy()
    first = CALIBRATORS[name](histogram, bits)
    assert np.array_equal(histogram.counts, before)
    assert CALIBRATORS[name](histogram, bits) == first


@pytest.mark.parametrize("name", CALIBRATORS)
@settings(deadline=None, max_examples=20)
@given(histograms(low=100, high=400), st.integers(2, 8), st.integers(-30, 30))
def test_scaling_the_values_by_a_power_of_two_scales_the_range_exactly(name, histogram, bits, exponent):
    factor = 2.0**exponent
    scaled = Histogram(histogram.counts, histogram.edges * factor, histogram.low * factor, histogram.high * factor)
    assert CALIBRATORS[name](scaled, bits) == CALIBRATORS[name](histogram, bits) * factor


@pytest.mark.parametrize("name", CALIBRATORS)
@settings(deadline=None, max_examples=20)
@given(histograms(low=1, high=2500), st.integers(2, 8))
def test_a_range_lies_within_a_bin_of_what_was_seen(name, histogram, bits):
    assert 0 <= CALIBRATORS[name](histogram, bits) <= histogram.edges[-1]


@pytest.mark.parametrize("name", CALIBRATORS)
def test_no_range_exceeds_the_largest_value(name):
    counter = HistogramCounter()
    counter.add(torch.cat([torch.full((50,), 1.0), torch.tensor([0.3, 0.6])]))
    assert CALIBRATORS[name](counter.histogram(), 8) <= 1.0


def test_calibrators_agree_on_a_stream_and_on_all_values_at_once():
    x = torch.randn(30000)
    once, stream = HistogramCounter(), HistogramCounter()
    once.add(x)
    for part in x.split(777):
        stream.add(part)
    for calibrate in CALIBRATORS.values():
        assert calibrate(once.histogram(), 8) == calibrate(stream.histogram(), 8) > 0


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("bits", [2, 8])
def test_all_zeros_give_an_empty_range(name, bits):
    counter = HistogramCounter()
    counter.add(torch.zeros(50))
    assert 0 <= CALIBRATORS[name](counter.histogram(), bits) <= 2.0**-24


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("value", [1.0, -3.7, 1e-20, 1e20])
def test_a_single_value_gives_a_range_within_a_bin_of_it(name, value):
    counter = HistogramCounter()
    counter.add(torch.full((50,), value))
    assert CALIBRATORS[name](counter.histogram(), 8) == pytest.approx(abs(value), rel=1 / 1024)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_one_outlier_over_zeros_gives_a_finite_range(name):
    counter = HistogramCounter()
    counter.add(torch.cat([torch.zeros(10**5), torch.tensor([1e4])]))
    assert 0 <= CALIBRATORS[name](counter.histogram(), 8) <= 1e4 * (1 + 1 / 1024)


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("counts", [[1], [5, 0], [0, 3], [1] * 127, [2] * 2047, [0] * 500 + [1]])
def test_few_bins_are_no_error(name, counts):
    histogram = equal_bins(np.array(counts, np.int64), 1.0, 0.0, len(counts) - 0.5)
    assert 0 <= CALIBRATORS[name](histogram, 8) <= len(counts)
