from __future__ import annotations

import functools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.quant import QuantizationError
from quantbench.quant.calibrators import CALIBRATORS, entropy_range, max_range, mse_range, percentile_range
from quantbench.quant.histogram import Histogram, HistogramCounter, equal_bins

REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "calibrator_reference.json").read_text())["results"]
PERCENTILES = (50, 99, 99.9, 99.99, 99.999, 99.9999, 100)


@functools.cache
def irwin_hall(seed: int, count: int = 20000) -> np.ndarray:
    """The generator of the reference data: sums of 12 numbers of a linear congruential generator, minus 6."""
    numbers, state = np.empty(12 * count), seed
    for k in range(12 * count):
        state = (1664525 * state + 1013904223) % 2**32
        numbers[k] = state / 2**32
    return (numbers.reshape(count, 12).sum(1) - 6).astype(np.float32)


def reference_data(case: str) -> np.ndarray:
    if case == "C_cube_seed777":
        return (irwin_hall(777).astype(np.float64) ** 3).astype(np.float32)
    x = irwin_hall(12345)
    if case == "A_irwinhall12_n20000_seed12345":
        return x
    x = np.maximum(x, 0)
    return x[x != 0] if case == "B2_relu_of_A_skip_zeros" else x


@functools.cache
def reference_histogram(case: str, collector: str) -> Histogram:
    x = reference_data(case)
    size = np.abs(x)
    if collector == "torch_hist":
        counts = torch.histc(torch.from_numpy(size), bins=2048, min=0, max=float(size.max())).numpy()
        first = 0.0
    else:
        counts, edges = np.histogram(size, bins=2048)
        first = float(edges[0])
    width = (float(size.max()) - first) / 2048
    return equal_bins(counts.astype(np.int64), width, float(x.min()), float(x.max()), first)


REFERENCE_CASES = [(case, collector) for case in REFERENCE for collector in REFERENCE[case]]


@pytest.mark.parametrize(("case", "collector"), REFERENCE_CASES)
def test_the_reference_histogram_is_made_again(case, collector):
    expected, histogram = REFERENCE[case][collector], reference_histogram(case, collector)
    assert len(histogram.counts) == expected["nbins"]
    assert histogram.total == expected["hist_sum"]
    assert histogram.counts[:8].tolist() == expected["hist_sha_first8"]
    assert histogram.edges[0] == pytest.approx(expected["edge0"], rel=1e-6)
    assert histogram.edges[-1] == pytest.approx(expected["edge_last"], rel=1e-6)


@pytest.mark.parametrize("name", ["entropy", "mse", *(f"percentile_{p}" for p in PERCENTILES)])
@pytest.mark.parametrize(("case", "collector"), REFERENCE_CASES)
def test_calibrators_return_the_values_of_the_reference(case, collector, name):
    kind, _, percentile = name.partition("_")
    options = {"percentile": float(percentile)} if percentile else {}
    result = CALIBRATORS[kind](reference_histogram(case, collector), 8, **options)
    assert result == pytest.approx(REFERENCE[case][collector][name], rel=1e-6)


@pytest.mark.parametrize(("case", "collector"), REFERENCE_CASES)
def test_entropy_finds_the_bin_of_the_reference(case, collector):
    histogram = reference_histogram(case, collector)
    found = int(np.abs(histogram.edges - entropy_range(histogram, 8)).argmin())
    assert found == REFERENCE[case][collector]["entropy_bin_index"]


def divergence(counts: list[int], i: int, levels: int) -> float:
    """KL(P, Q) of candidate i, in plain Python with exact sums."""
    h = list(counts)
    h[0] = h[1]
    p = [*h[: i - 1], h[i - 1] + sum(h[i:])]
    group = np.digitize(np.arange(i), np.linspace(0, i, levels + 1)) - 1
    q = [0.0] * i
    for g in set(group.tolist()):
        members = [j for j in range(i) if group[j] == g]
        filled = [j for j in members if h[j]]
        for j in filled:
            q[j] = sum(h[k] for k in members) / len(filled)
    total_p, total_q = sum(p), math.fsum(q)
    if total_p == 0 or total_q == 0:
        return math.inf
    if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
        return math.inf
    pairs = ((a / total_p, b / total_q) for a, b in zip(p, q, strict=True) if a)
    return math.fsum(a * math.log(a / b) for a, b in pairs)


def squared_error(counts: list[int], centres: np.ndarray, alpha: float, bits: int) -> float:
    high = 2 ** (bits - 1) - 1
    scale = high / alpha
    quantized = [max(-high, min(high, round(c * scale))) / scale for c in centres]  # round() takes ties to even
    return math.fsum(n * (q - c) ** 2 for n, q, c in zip(counts, quantized, centres, strict=True))


@st.composite
def histograms(draw, low=128, high=170):
    """Few or many bins, sparse or full, small or large counts; the last bin is occupied, as in [0, max]."""
    bins = draw(st.integers(low, high))
    largest = draw(st.sampled_from([1, 3, 100, 2**24 + 1, 2**45]))
    filled = draw(st.sampled_from([0.02, 0.3, 1.0]))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    counts = random.integers(0, largest, bins, endpoint=True) * (random.random(bins) < filled)
    if draw(st.booleans()):
        counts = (counts * np.exp(-np.arange(bins) / 25)).astype(np.int64)
    counts[-1] = max(counts[-1], 1)
    width = draw(st.sampled_from([2.0**-9, 0.013, 3.0]))
    return equal_bins(counts.astype(np.int64), width, -width, width * (bins - 0.5))


@settings(deadline=None, max_examples=60)
@given(histograms(), st.integers(2, 8))
def test_entropy_is_the_last_least_divergence_of_the_literal_search(histogram, bits):
    counts = [int(n) for n in histogram.counts]
    search = {i: divergence(counts, i, 2 ** (bits - 1)) for i in range(128, len(counts) + 1)}
    least = min(search.values())
    assert math.isfinite(least)
    near = [i for i, value in search.items() if value <= least + 1e-12]
    result = entropy_range(histogram, bits)
    found = len(counts) if result == histogram.largest else round(result / histogram.edges[1])
    assert found in near
    assert result in (histogram.edges[found], histogram.largest)


def test_the_last_of_equal_divergences_wins():
    counts = np.zeros(200, np.int64)
    counts[[150, 199]] = 5
    assert divergence(counts.tolist(), 151, 128) == divergence(counts.tolist(), 200, 128) == 0
    assert entropy_range(equal_bins(counts, 1.0, 0.0, 200.0), 8) == 200


def test_entropy_replaces_the_first_count_by_the_second():
    random = np.random.default_rng(3)
    counts = (1000 * np.exp(-np.arange(160) / 20) + random.integers(0, 4, 160)).astype(np.int64)
    counts[-1] = 1
    spiked = counts.copy()
    spiked[0] = 10**12
    assert entropy_range(equal_bins(spiked, 1.0, 0.0, 159.5), 4) == entropy_range(
        equal_bins(counts, 1.0, 0.0, 159.5), 4
    )


@settings(deadline=None, max_examples=40)
@given(histograms(), st.integers(2, 8))
def test_mse_is_the_first_least_error_of_the_literal_search(histogram, bits):
    counts = [int(n) for n in histogram.counts]
    centres = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    errors = [squared_error(counts, centres, float(alpha), bits) for alpha in centres[128:]]
    if not errors:
        errors, centres = [0.0], np.concatenate([np.zeros(128), centres[-1:]])
    least = min(errors)
    slack = 1e-9 * (least + sum(counts) * histogram.edges[1] ** 2 * 1e-6)
    near = [float(centres[128 + i]) for i, error in enumerate(errors) if error <= least + slack]
    assert any(mse_range(histogram, bits) == pytest.approx(alpha, rel=1e-12) for alpha in near)


def test_the_first_of_equal_errors_wins():
    counts = np.zeros(132, np.int64)
    counts[[130, 131]] = 1  # two bits: either centre is exact and the other one is off by 1
    assert mse_range(equal_bins(counts, 1.0, 0.0, 131.5), 2) == 130.5


def test_mse_weighs_errors_by_counts():
    counts = np.zeros(200, np.int64)
    counts[[0, 199]] = [10**6, 1]
    centres = np.arange(200) + 0.5
    errors = [squared_error(counts.tolist(), centres, alpha, 2) for alpha in centres[128:]]
    assert mse_range(equal_bins(counts, 1.0, 0.0, 199.5), 2) == centres[128 + errors.index(min(errors))]


def test_empty_bins_above_the_largest_value_do_not_change_the_range():
    counts = np.random.default_rng(1).integers(0, 50, 300)
    padded = equal_bins(np.append(counts, np.zeros(90, np.int64)), 0.5, 0.0, 149.9)
    for calibrate in CALIBRATORS.values():
        assert calibrate(padded, 6) == calibrate(equal_bins(counts, 0.5, 0.0, 149.9), 6)


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
