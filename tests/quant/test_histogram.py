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
from quantbench.quant.histogram import BINS, Histogram, HistogramCounter
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


def counted(*batches: torch.Tensor, bins: int = BINS) -> Histogram:
    counter = HistogramCounter(bins)
    for batch in batches:
        counter.add(batch)
    return counter.histogram()


def naive_counts(x: torch.Tensor, histogram: Histogram) -> np.ndarray:
    """How many |x| lie between the edges, found by bisection: nothing is computed with the values."""
    values = np.abs(x.detach().double().numpy().ravel())
    index = np.searchsorted(histogram.edges, values, side="right") - 1
    return np.bincount(index, minlength=len(histogram.counts))


def same(a: Histogram, b: Histogram) -> bool:
    return (a.width, a.low, a.high, a.start) == (b.width, b.low, b.high, b.start) and np.array_equal(a.counts, b.counts)


@settings(deadline=None, max_examples=100)
@given(st.lists(VALUES, min_size=1, max_size=30), st.sampled_from([1, 4, 64, BINS]))
def test_counts_equal_a_plain_count_with_the_same_edges(values, bins):
    x = tensor(values)
    histogram = counted(x, bins=bins)
    assert histogram.counts.dtype == np.int64
    assert np.array_equal(histogram.counts, naive_counts(x, histogram))
    assert histogram.total == len(values)
    assert (histogram.low, histogram.high) == (float(x.min()), float(x.max()))
    assert histogram.largest == float(x.abs().max())


def test_counts_equal_a_plain_count_on_many_values_of_a_network():
    x = torch.randn(3 * CHUNK // 2 + 7) ** 3
    histogram = counted(x)
    assert np.array_equal(histogram.counts, naive_counts(x, histogram))


@settings(deadline=None, max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=30).filter(lambda values: any(tensor(values) != 0)))
def test_the_width_is_the_narrowest_power_of_two_that_holds_the_largest_value(values):
    histogram = counted(tensor(values), bins=64)
    assert np.frexp(histogram.width)[0] == 0.5
    assert histogram.largest < histogram.edges[-1]
    assert histogram.width == 2.0**-100 or histogram.largest >= histogram.edges[32]


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
    counter = HistogramCounter(16)
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
    histogram = counted(tensor([3.5, 1.0, np.nextafter(np.float32(1), np.float32(0))]), bins=4)
    assert histogram.counts.tolist() == [1, 1, 0, 1]
    assert histogram.edges.tolist() == [0, 1, 2, 3, 4]


def test_the_size_of_a_counter_does_not_depend_on_what_it_counted():
    counter = HistogramCounter()
    counter.add(torch.randn(10))
    before = len(pickle.dumps(counter))
    for size in (1, 1000, 100_000):
        counter.add(torch.randn(size) * size)
    assert abs(len(pickle.dumps(counter)) - before) < 64


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


@pytest.mark.parametrize("bins", [0, -1, 3, 100])
def test_a_number_of_bins_that_is_not_a_power_of_two_is_refused(bins):
    with pytest.raises(ValueError, match=str(bins)):
        HistogramCounter(bins)


@pytest.mark.parametrize(
    "other",
    [
        Histogram(np.ones(8, np.int64), 1.0, 0.0, 8.0),
        Histogram(np.ones(4, np.int64), 3.0, 0.0, 8.0),
        Histogram(np.ones(4, np.int64), 1.0, 0.0, 8.0, start=0.5),
    ],
)
def test_histograms_with_bins_that_do_not_fit_are_not_merged(other):
    histogram = Histogram(np.ones(4, np.int64), 1.0, 0.0, 3.0)
    for a, b in ((histogram, other), (other, histogram)):
        with pytest.raises(ValueError, match="merge"):
            a.merge(b)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=200), st.integers(1, 64))
def test_coarsening_keeps_the_total_the_ends_and_every_prefix(counts, limit):
    fine = Histogram(np.array(counts, np.int64), 0.25, -1.0, 2.0, start=0.5)
    coarse = fine.coarsened(limit)
    assert len(coarse.counts) <= limit
    assert (coarse.total, coarse.low, coarse.high, coarse.start) == (fine.total, -1.0, 2.0, 0.5)
    factor = round(coarse.width / fine.width)
    assert factor * fine.width == coarse.width
    for i in range(len(coarse.counts) + 1):
        assert coarse.counts[:i].sum() == fine.counts[: i * factor].sum()


def test_coarsening_is_no_coarser_than_it_must_be():
    counts = np.ones(8192, np.int64)
    counts[4097:] = 0
    coarse = Histogram(counts, 1.0, 0.0, 4096.5).coarsened(2048)
    assert (len(coarse.counts), coarse.width) == (1025, 4.0)
    small = Histogram(counts[:100], 1.0, 0.0, 99.5)
    assert same(small.coarsened(2048), small)
