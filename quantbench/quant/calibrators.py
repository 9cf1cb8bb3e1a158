"""Calibrators: pure functions from (histogram of |x|, bits) to the range alpha (section 3.4 of the paper).

The searches (entropy, mse) work on 2048 equal bins of [0, largest |x|], as NVIDIA's pytorch-quantization does, whose
thresholds they return on the same histogram.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from quantbench.quant import QuantizationError
from quantbench.quant.histogram import Histogram

SEARCH_BINS = 2048
FIRST_CANDIDATE = 128
# Candidates this close to the least divergence (relative) are compared again by the definition itself, because the
# last one of equal minima wins and prefix sums round differently from plain sums.
NEAR_TIE = 1e-9

Calibrator = Callable[[Histogram, int], float]


def max_range(histogram: Histogram, bits: int) -> float:
    """The largest |x| seen."""
    return histogram.largest


def percentile_range(histogram: Histogram, bits: int, percentile: float = 99.99) -> float:
    """The left edge of the first bin up to which at least `percentile` percent of the values lie.

    Values are counted in integers: rounding may take the bin after the one that `percentile` reaches exactly, and that
    bin may be far away. Only on equal bins, where it is the neighbour, rounding decides as in pytorch-quantization.

    Raises:
        QuantizationError: `percentile` is outside (0, 100].
    """
    if not 0 < percentile <= 100:
        raise QuantizationError(f"percentile must be above 0 and at most 100, not {percentile}")
    if histogram.equally_wide:
        index = np.searchsorted(np.cumsum(histogram.counts / histogram.total), percentile / 100)
    else:
        needed = math.ceil(Fraction(repr(float(percentile))) * histogram.total / 100)
        index = np.searchsorted(np.cumsum(histogram.counts), needed)
    return min(float(histogram.edges[index]), histogram.largest)


def mse_range(histogram: Histogram, bits: int) -> float:
    """The bin centre, from bin 128 on, that gives the least expected squared error of scale quantization.

    Each value stands at its bin's centre; the first minimum wins.
    """
    coarse = histogram.regrouped(SEARCH_BINS)
    centres = coarse.centres
    candidates = centres[min(FIRST_CANDIDATE, len(centres) - 1) :]
    levels = 2 ** (bits - 1) - 1
    errors = [_squared_error(coarse.counts, centres, alpha / levels, levels) for alpha in candidates]
    return min(float(candidates[int(np.argmin(errors))]), histogram.largest)


def _squared_error(counts: NDArray[np.int64], centres: NDArray[np.float64], step: float, levels: int) -> float:
    quantized = np.minimum(np.rint(centres / step), levels) * step
    return float(np.dot(counts, (quantized - centres) ** 2))


def entropy_range(histogram: Histogram, bits: int) -> float:
    """The bin edge that minimises KL(float distribution, quantized distribution); the last minimum wins.

    TensorRT's method, in the exact semantics of pytorch-quantization's reference: the first bin takes its neighbour's
    count; for a candidate i the tail beyond it is added to the last kept bin of P, and Q spreads each of 2^(bits-1)
    groups of bins evenly over the group's non-empty bins.
    """
    coarse = histogram.regrouped(SEARCH_BINS)
    counts = coarse.counts.astype(np.float64)
    if len(counts) > 1:
        counts[0] = counts[1]
    if not counts.any():
        return histogram.largest
    levels = 2 ** (bits - 1)
    candidates = np.arange(min(FIRST_CANDIDATE, len(counts)), len(counts) + 1)
    divergences = _divergences(counts, candidates, levels)
    least = divergences.min()
    if not np.isfinite(least):
        return histogram.largest
    near = candidates[divergences <= least + NEAR_TIE * max(1.0, abs(least))]
    exact = np.array([_divergence(counts, int(i), levels) for i in near])
    return min(float(coarse.edges[near[np.flatnonzero(exact == exact.min())[-1]]]), histogram.largest)


def _divergences(counts: NDArray[np.float64], candidates: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """KL(P, Q) of every candidate at once, from prefix sums: O(candidates * levels) instead of O(bins^2).

    With T the total, S_i the sum of the first i counts and G, N a group's sum and number of non-empty bins,
    T * KL = sum P log P - T log T - sum_groups G log(G / N) - tail * log Q[i-1] + T log S_i.
    """
    total = counts.sum()
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    filled = np.concatenate([[0.0], np.cumsum(counts > 0)])
    self_information = np.concatenate([[0.0], np.cumsum(_x_log_x(counts))])
    # Bin j belongs to group k of candidate i if k * i / levels <= j; levels is a power of two, so this is exact.
    edges = -(-candidates[:, None] * np.arange(levels + 1) // levels)
    group_sums, group_filled = np.diff(sums[edges]), np.diff(filled[edges])
    density = group_sums / np.maximum(group_filled, 1)
    spread = (group_sums * _safe_log(density)).sum(1)

    last, kept = counts[candidates - 1], sums[candidates]
    tail = total - kept
    last_density = np.take_along_axis(density, ((candidates - 1) * levels // candidates)[:, None], 1)[:, 0]
    p_log_p = self_information[candidates - 1] + _x_log_x(last + tail)
    scaled = p_log_p - total * np.log(total) - spread - tail * _safe_log(last_density) + total * _safe_log(kept)
    impossible = (last == 0) & (tail > 0)
    return np.where(impossible | (kept == 0), np.inf, scaled / total)


def _divergence(counts: NDArray[np.float64], i: int, levels: int) -> float:
    """KL(P, Q) of candidate i by its definition."""
    p = counts[:i].copy()
    p[-1] += counts[i:].sum()
    group = np.arange(i) * levels // i
    filled = counts[:i] > 0
    sums = np.bincount(group, weights=counts[:i], minlength=levels)
    sizes = np.bincount(group, weights=filled, minlength=levels)
    q = np.where(filled, (sums / np.maximum(sizes, 1))[group], 0.0)
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


def _safe_log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.where(x > 0, x, 1.0))


def _x_log_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x * _safe_log(x)


CALIBRATORS: dict[str, Callable[..., float]] = {
    "max": max_range,
    "percentile": percentile_range,
    "entropy": entropy_range,
    "mse": mse_range,
}
