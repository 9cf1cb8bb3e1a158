from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from quantbench.quant import QuantizationError
from quantbench.quant.histogram import FEW, Histogram, HistogramCounter, equal_bins
from quantbench.quant.tensors import CHUNK

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-45, 1.1754944e-38, -1e-40, 3.4028235e38, 2.0**-100, 2.0**-87]),
    st.integers(-140, 120).map(lambda e: 2.0**e),
    st.floats(-1, 1, width=32),
    st.tuples(st.floats(1, 2, width=32), st.integers(-30, 30)).map(lambda t: t[0] * 10.0 ** t[1]),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
BATCHES = st.lists(st.lists(VALUES, min_size=1, max_size=12), min_size=1, max_size=6)


def tensor(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).float()


def counted(*batches: torch.Tensor) -> Histogram:
    counter = HistogramCounter()
    for batch in batches:
        counter.add(batch)
    return counter.histogram()


def naive_counts(x: torch.Tensor, histogram: Histogram) -> np.ndarray:
    """How many |x| lie between the edges, found by bisection: nothing is computed with the values."""
    values = np.abs(x.detach().double().numpy().ravel())
    index = np.searchsorted(histogram.edges, values, side="right") - 1
    return np.bincount(index, minlength=len(histogram.counts))


def same(a: Histogram, b: Histogram) -> bool:
    same_bins = np.array_equal(a.edges, b.edges) and np.array_equal(a.counts, b.counts)
    return same_bins and (a.low, a.high) == (b.low, b.high)


@settings(deadline=None, max_examples=100)
@given(st.lists(VALUES, min_size=1, max_size=30), st.sampled_from([1, FEW + 1]))
def test_counts_equal_a_plain_count_with_the_same_edges(values, times):
    x = tensor(values * -(-times // len(values)))  # few are counted in another way than many
    histogram = counted(x)
    assert histogram.counts.dtype == np.int64
    assert np.array_equal(histogram.counts, naive_counts(x, histogram))
    assert histogram.total == len(x)
    assert (histogram.low, histogram.high) == (float(x.min()), float(x.max()))
    assert histogram.largest == float(x.abs().max())


def test_counts_equal_a_plain_count_on_many_values_of_a_network():
    x = torch.randn(3 * CHUNK // 2 + 7) ** 3
    histogram = counted(x)
    assert np.array_equal(histogram.counts, naive_counts(x, histogram))


@settings(deadline=None, max_examples=100)
@given(st.lists(VALUES, min_size=1, max_size=30))
def test_a_bin_is_never_wider_than_2_to_the_minus_12_of_its_values(values):
    histogram = counted(tensor(values))
    filled = histogram.counts > 0
    left, width = histogram.edges[:-1][filled], np.diff(histogram.edges)[filled]
    assert (width <= np.maximum(left * 2.0**-12, 2.0**-138)).all()  # float32's denormal numbers have fewer bits
    assert histogram.edges[0] == 0 and histogram.counts[-1] > 0
    assert not ((histogram.counts[1:] == 0) & (histogram.counts[:-1] == 0)).any()  # nothing is kept of empty octaves


def test_many_octaves_at_once_are_counted_exactly():
    x = torch.exp2(torch.empty(200_000).uniform_(-140, 120)) * torch.randn(200_000).sign()
    histogram = counted(x, torch.zeros(100_000))
    assert np.array_equal(histogram.counts, naive_counts(torch.cat([x, torch.zeros(100_000)]), histogram))
    assert same(histogram, counted(*x.split(1000), torch.zeros(100_000)))


@settings(deadline=None, max_examples=100)
@given(BATCHES, st.randoms(use_true_random=False))
def test_split_order_and_growth_do_not_change_the_histogram(batches, random):
    once = counted(tensor([value for batch in batches for value in batch]))
    assert same(counted(*map(tensor, batches)), once)
    random.shuffle(batches)
    assert same(counted(*map(tensor, batches)), once)
    assert same(counted(*(tensor([value]) for batch in batches for value in batch)), once)


@settings(deadline=None, max_examples=100)
@given(BATCHES, st.randoms(use_true_random=False))
def test_merging_in_any_order_equals_one_pass(batches, random):
    once = counted(tensor([value for batch in batches for value in batch]))
    parts = [counted(tensor(batch)) for batch in batches]
    while len(parts) > 1:
        random.shuffle(parts)
        parts.append(parts.pop().merge(parts.pop()))
    assert same(parts[0], once)


def test_merging_changes_neither_histogram():
    a, b = counted(tensor([1.0, 2.0])), counted(tensor([-300.0]))
    before = a.counts.copy(), b.counts.copy()
    a.merge(b)
    assert np.array_equal(a.counts, before[0])
    assert np.array_equal(b.counts, before[1])


def test_what_was_handed_out_does_not_change_when_counting_goes_on():
    counter = HistogramCounter()
    counter.add(tensor([1.0]))
    first = counter.histogram()
    counter.add(tensor([1.0, 0.5]))
    counter.add(tensor([100.0]))
    assert first.total == 1
    assert counter.histogram().total == 4


def test_2_to_the_24_and_2_to_the_31_equal_values_are_counted_exactly():
    counter = HistogramCounter()
    counter.add(torch.full((2**24,), 0.75))
    counter.add(tensor([0.75]))
    assert counter.histogram().total == 2**24 + 1
    histogram = counter.histogram()
    for _ in range(7):
        histogram = histogram.merge(histogram)
    assert histogram.counts.max() == histogram.total == 2**31 + 128
    assert histogram.merge(counted(tensor([0.75]))).counts.max() == 2**31 + 129


def test_a_counter_goes_on_beyond_what_32_bits_hold(monkeypatch):
    monkeypatch.setattr("quantbench.quant.histogram.FULL", 3)
    counter = HistogramCounter()
    for _ in range(5):
        counter.add(tensor([0.75, 3.0]))
    assert counter.histogram().counts.max() == 5 and counter._counts.dtype == np.int64


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinity_are_refused_and_nothing_of_the_tensor_is_counted(bad):
    counter = HistogramCounter()
    counter.add(tensor([1.0, -2.0]))
    with pytest.raises(QuantizationError, match="1 NaN" if bad != bad else "1 infinite"):
        counter.add(tensor([1e6, bad, 3.0]))
    assert same(counter.histogram(), counted(tensor([1.0, -2.0])))


def test_an_empty_tensor_counts_nothing():
    counter = HistogramCounter()
    counter.add(torch.empty(0, 3))
    with pytest.raises(QuantizationError):
        counter.histogram()
    counter.add(torch.tensor(0.0))
    assert counter.histogram().total == 1


BASE = torch.randn(4, 6, 10, 8) ** 3
LAYOUTS = {
    "contiguous": BASE,
    "channels last": BASE.to(memory_format=torch.channels_last),
    "transposed": BASE.transpose(0, 2),
    "permuted": BASE.permute(3, 0, 2, 1),
    "strided slice": BASE[:, ::2, 1:, ::3],
    "slice of channels last": BASE.to(memory_format=torch.channels_last)[:, 1:4],
    "expanded": BASE[:1, :, :, :1].expand(4, 6, 10, 5),
    "overlapping windows": BASE.flatten().unfold(0, 5, 2),
    "narrow": BASE.narrow(0, 2, 1),
    "scalar": BASE[0, 0, 0, 0],
    "with gradient": BASE.clone().requires_grad_(),
    "not the start of its memory": BASE.flatten()[17:301],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_memory_layout_does_not_change_the_histogram(name):
    x = LAYOUTS[name]
    before = x.detach().clone()
    histogram = counted(x)
    assert np.array_equal(histogram.counts, naive_counts(x, histogram))
    assert histogram.total == x.numel()
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_is_counted_exactly(dtype):
    x = (torch.randn(5000, dtype=torch.float64) ** 3).to(dtype)
    histogram = counted(x)
    assert np.array_equal(histogram.counts, naive_counts(x, histogram))
    assert histogram.largest == float(x.abs().max())


def test_float64_values_beyond_float32_are_counted_exactly():
    x = torch.tensor([1e300, 1e299, -1e-300, 0.0], dtype=torch.float64)
    histogram = counted(x)
    assert np.array_equal(histogram.counts, naive_counts(x, histogram))


def test_a_bin_edge_belongs_to_the_bin_above_it():
    histogram = counted(tensor([3.5, 1.0, np.nextafter(np.float32(1), np.float32(0))]))
    assert histogram.counts.tolist() == [0, 1, 1, 0, 1]
    assert histogram.edges.tolist() == [0, 1 - 2**-13, 1, 1 + 2**-12, 3.5, 3.5 + 2**-11]


def test_the_size_of_a_counter_depends_on_the_octaves_and_not_on_the_number_of_values():
    counter = HistogramCounter()
    counter.add(torch.rand(10_000) + 1)
    before = len(pickle.dumps(counter))
    for _ in range(20):
        counter.add(torch.rand(100_000) + 1)
    assert abs(len(pickle.dumps(counter)) - before) < 64
    counter.add(torch.rand(10_000) + 2**20)
    assert before + 2**14 <= len(pickle.dumps(counter)) < before + 2**14 + 1024


def test_counting_a_dense_tensor_allocates_no_more_than_a_chunk_at_once():
    class Largest(TorchDispatchMode):
        bytes = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in known:
                self.bytes = max(self.bytes, result.untyped_storage().nbytes())
            return result

    x = torch.randn(8, 2, 256, 1024).to(memory_format=torch.channels_last)
    with Largest() as largest:
        counted(x)
    assert 0 < largest.bytes <= 8 * CHUNK < x.untyped_storage().nbytes()


@pytest.mark.parametrize(
    "other", [equal_bins(np.ones(4, np.int64), 3.0, 0, 8), equal_bins(np.ones(4, np.int64), 1.0, 0, 3, 0.5)]
)
def test_histograms_with_bins_that_do_not_fit_are_not_merged(other):
    histogram = equal_bins(np.ones(4, np.int64), 1.0, 0.0, 3.0)
    for a, b in ((histogram, other), (other, histogram)):
        with pytest.raises(ValueError, match="merge"):
            a.merge(b)


@settings(deadline=None, max_examples=60)
@given(BATCHES, st.sampled_from([1, 7, 256, 2048]))
def test_regrouping_moves_no_value_by_more_than_half_its_bin(batches, limit):
    x = tensor([value for batch in batches for value in batch]) * 1e-3
    fine = counted(x)
    coarse = fine.regrouped(limit)
    assert (coarse.total, coarse.low, coarse.high) == (fine.total, fine.low, fine.high)
    assert len(coarse.counts) <= limit and (coarse.counts >= 0).all()
    if len(coarse.counts) == limit > 1 and fine.largest > 2.0**-120:
        assert coarse.edges == pytest.approx(np.linspace(0, fine.largest, limit + 1))
        values = np.sort(np.abs(x.double().numpy()))
        for edge, below in zip(coarse.edges[1:-1], np.cumsum(coarse.counts), strict=False):
            slack = edge * 2.0**-12
            assert np.searchsorted(values, edge - slack) <= below <= np.searchsorted(values, edge + slack, side="right")


@pytest.mark.parametrize("largest", [1.001, 1.2, 1.5, 1.999])
def test_2048_equal_bins_are_regrouped_to_a_quarter_of_a_bin(largest):
    x = torch.cat([torch.rand(400_000) * largest, torch.tensor([largest])])
    coarse = counted(x).regrouped(2048)
    values = np.sort(x.double().numpy())
    below, width = np.cumsum(coarse.counts)[:-1], float(values[-1]) / 2048
    for shift, side in ((-0.25, "left"), (0.25, "right")):
        edge = np.searchsorted(values, coarse.edges[1:-1] + shift * width, side=side)
        assert (below >= edge if shift < 0 else below <= edge).all()


def test_a_value_that_occurs_often_stays_in_one_bin():
    levels = torch.arange(256) / 255 * 3.7
    coarse = counted(levels.repeat_interleave(1000)).regrouped(2048)
    assert sorted(set(coarse.counts.tolist())) == [0, 1000]


def test_equal_bins_that_are_few_enough_stay_as_they_are():
    counts = np.ones(2048, np.int64)
    counts[100:] = 0
    kept = equal_bins(counts, 1.0, 0.0, 99.5, start=0.25).regrouped(2048)
    assert kept.counts.tolist() == [1] * 100 and kept.edges.tolist() == [0.25 + i for i in range(101)]
