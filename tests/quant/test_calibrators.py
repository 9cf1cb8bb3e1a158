from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.quant.calibrators import CALIBRATORS, entropy_range, mse_range
from quantbench.quant.histogram import Histogram, equal_bins

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
