from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import StepPatch

from quantbench.quant.histogram import Histogram, HistogramCounter, equal_bins
from quantbench.report.figures.figure import Figure
from quantbench.report.figures.histogram import SLOT, calibrated_ranges, choose_site, histogram_figure, spread
from tests.report.figure_checks import assert_readable, line

NAMES = ["max", "entropy", "mse", "99.9", "99.99", "99.999", "99.9999"]


def counted(*parts: torch.Tensor) -> Histogram:
    counter = HistogramCounter()
    for part in parts:
        counter.add(part)
    return counter.histogram()


def normal(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


HARD = {
    "spike in the first bin": counted(torch.zeros(900_000), normal(100_000)),
    "max far beyond 99.9 %": counted(normal(1_000_000), torch.tensor([20.0, 30.0, -66.0])),
    "zeros": counted(torch.zeros(1000)),
    "one bin": equal_bins(np.array([7]), 2.0, 0.5, 1.5),
    "one tiny value": counted(torch.full((1000,), 3.3e-5)),
    "all ranges at the right": counted(torch.rand(100_000, generator=torch.Generator().manual_seed(0))),
    "large": counted(normal(1000) * 123456),
}


def drawn(histogram: Histogram, **options: Any) -> Figure:
    return histogram_figure(histogram, calibrated_ranges(histogram), "layer1.0.conv1.input", "mine", **options)


@pytest.mark.parametrize("histogram", HARD.values(), ids=HARD.keys())
def test_hard_histograms_are_readable(histogram: Histogram) -> None:
    figure = drawn(histogram)
    assert_readable(figure)
    (axes,) = figure.drawing.axes
    left, right = axes.get_xlim()
    assert left < 0 < histogram.largest < right or histogram.largest == 0
    (bars,) = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    heights, edges, _ = bars.get_data()
    assert heights.sum() == histogram.total  # joined, not thinned out
    assert edges[-1] > edges[0] and axes.get_ylim()[1] > heights.max()
    shown = (edges[1] - edges[0]) / (right - left)
    assert shown > 0.003  # a bar of at least 3 px


def test_each_range_has_its_line_and_its_label() -> None:
    histogram = HARD["spike in the first bin"]
    ranges = {"max": 4.5, "entropy": 4.49, "99.9": 2.5, "mse": 0.1}
    figure = histogram_figure(histogram, ranges, "conv1.input", "mine")
    (axes,) = figure.drawing.axes
    assert {name: list(line(axes, name).get_xdata()) for name in ranges} == {n: [v, v] for n, v in ranges.items()}
    labels = {text.get_text(): text.xy[0] for text in axes.texts}
    assert labels == {"max\n4.5": 4.5, "entropy\n4.49": 4.49, "99.9 %\n2.5": 2.5, "mse\n0.1": 0.1}
    assert axes.get_xlabel() == "|x| at conv1.input"
    assert axes.get_yscale() == "log"
    assert "(1,000,000 values" in figure.caption
    assert "mse 0.1, 99.9 % 2.5, entropy 4.49, max 4.5." in figure.alt


def test_counts_are_those_of_the_histogram() -> None:
    figure = histogram_figure(equal_bins(np.array([5, 0, 3, 1, 0, 0]), 0.5, -1.9, 1.0), {"max": 1.9}, "a.input", "mine")
    (bars,) = figure.drawing.axes[0].patches
    heights, edges, baseline = bars.get_data()
    assert heights.tolist() == [5, 0, 3, 1]  # nothing beyond the largest value
    assert edges.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert 0 < baseline < 1  # a single value is a bar


def test_says_of_zeros_that_they_are() -> None:
    assert "(1,000 values" in drawn(HARD["zeros"]).caption and "All of them are 0." in drawn(HARD["zeros"]).caption


def test_bits_and_network_are_named() -> None:
    figure = histogram_figure(HARD["large"], {"max": 1.0}, "a.input", "mine (imagenet)", bits=4)
    assert figure.name == "figure2_mine_imagenet"
    assert "int4 range" in figure.caption and "mine (imagenet)" in figure.title


def test_ranges_are_those_of_the_calibrators() -> None:
    # 10,005 values: 6 in the first bin of width 1, then one in each. 99.9 % are 9994.995: reached in bin 9989, and the
    # percentile is its left edge.
    histogram = equal_bins(np.array([6] + [1] * 9999), 1.0, 0.0, 9999.5)
    ranges = calibrated_ranges(histogram)
    assert list(ranges) == NAMES
    assert (ranges["max"], ranges["99.9"], ranges["99.99"]) == (9999.5, 9989.0, 9998.0)
    assert 0 < ranges["mse"] <= 9999.5 and 0 < ranges["entropy"] <= 9999.5
    assert (
        calibrated_ranges(HARD["spike in the first bin"], 4)["mse"]
        < calibrated_ranges(HARD["spike in the first bin"])["mse"]
    )


def test_chooses_the_site_that_reaches_farthest_beyond_its_9999_percentile() -> None:
    flat, tail = np.ones(100, np.int64), np.zeros(100, np.int64)
    tail[:10], tail[-1] = 10_000, 1
    histograms = {"flat": equal_bins(flat, 1.0, 0, 99.5), "tail": equal_bins(tail, 1.0, 0, 99.5)}
    assert choose_site(histograms) == "tail"
    assert choose_site({"first": histograms["tail"], **histograms}) == "first"


def test_chooses_no_site_of_zeros_while_there_is_another() -> None:
    zeros, ones = HARD["zeros"], counted(torch.linspace(0.1, 1, 1000))
    assert choose_site({"zeros": zeros, "ones": ones}) == "ones"
    assert choose_site({"zeros": zeros, "more": zeros}) == "zeros"
    rare = counted(torch.cat([torch.zeros(100_000), torch.ones(1)]))  # its 99.99 % range is 0
    assert choose_site({"ones": ones, "rare": rare}) == "rare"
    with pytest.raises(ValueError):
        choose_site({})


def test_spread_leaves_places_that_are_apart() -> None:
    assert spread([0.2, 0.5, 0.8], 0.1) == [0.2, 0.5, 0.8]
    assert spread([], 0.1) == []


def test_spread_moves_close_places_apart_around_their_mean() -> None:
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert spread([0.0, 0.0], 0.1) == pytest.approx([0.05, 0.15])
    assert spread([0.99, 1.0, 1.0], 0.1) == pytest.approx([0.75, 0.85, 0.95])
    assert spread([1.0] * 20, 0.1) == pytest.approx([(i + 0.5) / 20 for i in range(20)])


@given(st.lists(st.floats(0, 1), max_size=8).map(sorted))
def test_spread_keeps_order_gap_and_edges(wanted: list[float]) -> None:
    places = spread(wanted, SLOT)
    assert all(b - a >= SLOT - 1e-9 for a, b in pairwise(places))
    assert all(SLOT / 2 - 1e-9 <= place <= 1 - SLOT / 2 + 1e-9 for place in places)
    assert len(places) == len(wanted) and not any(math.isnan(place) for place in places)
