"""Exact, streaming, mergeable counts of |x|, in bins that are the leading bits of the numbers themselves.

A bin is a float's exponent and the first 12 bits of its mantissa, 4,096 bins an octave, so that it is never wider than
2^-12 of the values in it, whatever else was seen. Bins depend on nothing, hence neither on batches nor on their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.quant import QuantizationError

if TYPE_CHECKING:  # who only reads histograms, as a report does, needs no torch
    from torch import Tensor

MANTISSA = 12  # bits of it in a bin's number
OCTAVE = 1 << MANTISSA  # bins in which the values double
# Octave e > 0 has |x| from 2^(e - BIAS) on. Octave 0 lies below float32's normal numbers, in bins of equal width.
BIAS = 127
OCTAVES = 2047 - 1023 + BIAS  # up to the largest number of float64
# Values counted at once: their bins stay in the processor's cache.
CHUNK = 1 << 19
# Octaves that one pass over them counts, where none was met yet, and at most.
SPAN, MOST = 32, 96
FEW = 1 << 15  # values that are faster counted one by one
FULL = 2**31 - 1  # values until which no count needs more than 32 bits
UNSIGNED = 2**31 - 1  # all bits of a float32 but its sign
LARGEST_BIN = 2**30 - 1  # no bin has a larger number


@dataclass(frozen=True)
class Histogram:
    """Counts of |x| over bins that need not be equally wide.

    `counts` is int64 [n] and `edges` float64 [n + 1], ascending: bin i holds edges[i] <= |x| < edges[i + 1]. `low` and
    `high` are the least and the largest x (signed) themselves.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    low: float
    high: float

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def largest(self) -> float:
        """The largest |x|, exactly."""
        return max(abs(self.low), abs(self.high))

    @property
    def equally_wide(self) -> bool:
        """Whether all bins are as wide as each other, up to rounding."""
        widths = np.diff(self.edges)
        return bool(np.ptp(widths) <= 1e-9 * self.edges[-1] / len(widths))

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin, float64 [n]."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def regrouped(self, limit: int) -> Histogram:
        """The same counts over `limit` equal bins of [0, largest], the last of which holds `largest` too.

        A bin across an edge is shared by its two sides as their widths are, in whole counts; where it has more than
        twice what its neighbours have, as one value that occurs often does, it goes whole where its middle is. What has
        at most `limit` equal bins already stays as it is, without the empty ones above the largest value.
        """
        occupied = np.flatnonzero(self.counts)
        used = int(occupied[-1]) + 1 if len(occupied) else 1
        kept = Histogram(self.counts[:used], self.edges[: used + 1], self.low, self.high)
        if used <= limit and kept.equally_wide:
            return kept
        edges = np.linspace(0.0, self.largest, limit + 1)
        beside = np.maximum(np.append(0, self.counts[:-1]), np.append(self.counts[1:], 0))
        alone = self.counts > 2 * beside
        below = np.append(0, np.cumsum(np.where(alone, 0, self.counts)))
        shared = np.rint(np.interp(edges, self.edges, below)).astype(np.int64)
        shared[-1] = below[-1]
        counts = np.diff(shared)
        index = np.searchsorted(edges, self.centres[alone], side="right") - 1
        np.add.at(counts, np.minimum(index, limit - 1), self.counts[alone])
        return Histogram(counts, edges, self.low, self.high)

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of values, as one pass over them together would have given it.

        Raises:
            ValueError: an edge of one lies within a bin of the other that is not empty.
        """
        edges = np.union1d(self.edges, other.edges)
        counts, bounds = _joined(_over(edges, self) + _over(edges, other), edges)
        return Histogram(counts, bounds, min(self.low, other.low), max(self.high, other.high))


def equal_bins(counts: NDArray[np.int64], width: float, low: float, high: float, start: float = 0.0) -> Histogram:
    """A histogram of equal bins: bin i holds i * width <= |x| - start < (i + 1) * width."""
    return Histogram(counts, start + np.arange(len(counts) + 1, dtype=np.float64) * width, low, high)


def _over(edges: NDArray[np.float64], histogram: Histogram) -> NDArray[np.int64]:
    """The counts of a histogram over more edges, between which its bins are whole or empty."""
    filled = np.flatnonzero(histogram.counts)
    first = np.searchsorted(edges, histogram.edges[filled])
    if not np.array_equal(edges[first + 1], histogram.edges[filled + 1]):
        raise ValueError("histograms merge only where no edge of one lies within an occupied bin of the other")
    counts = np.zeros(len(edges) - 1, np.int64)
    counts[first] = histogram.counts[filled]
    return counts


def _joined(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts and edges with neighbours that are empty made one bin, and none after the last that is not."""
    filled = counts > 0
    starts = filled | np.concatenate([[True], filled[:-1]])
    end = int(np.flatnonzero(filled)[-1]) + 1 if filled.any() else 1
    starts[end:] = False
    return counts[starts], np.append(edges[:-1][starts], edges[end])


class HistogramCounter:
    """Counts |x| of a stream of tensors, in memory that depends on the octaves met, not on the number of values."""

    def __init__(self) -> None:
        """Start empty."""
        # A row an octave, in the order in which they were met, and the row of each octave.
        self._counts: NDArray[np.integer] = np.zeros((0, OCTAVE), np.int32)
        self._rows = np.full(OCTAVES, -1, np.int64)
        self._zeros = self._total = 0
        self._low, self._high = math.inf, -math.inf

    def add(self, x: Tensor) -> None:
        """Count every value of a float tensor of any shape.

        Raises:
            QuantizationError: x holds NaN or an infinity; nothing of it was counted.
        """
        if x.numel() == 0:
            return
        x = x.detach()
        low, high = (float(end) for end in x.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise QuantizationError(describe_non_finite(x))
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._total += x.numel()
        if self._total > FULL and self._counts.dtype == np.int32:  # half the memory is enough until then
            self._counts = self._counts.astype(np.int64)
        self._count(x, max(-low, high))

    def histogram(self) -> Histogram:
        """What was counted so far.

        Raises:
            QuantizationError: nothing was counted.
        """
        if self._low > self._high:
            raise QuantizationError("no value was counted")
        octaves = np.flatnonzero(self._rows >= 0)
        bins = (octaves[:, None] * OCTAVE + np.arange(OCTAVE)).ravel()
        counts = self._counts[self._rows[octaves]].ravel()
        filled = np.flatnonzero(counts)
        return from_bins(bins[filled], counts[filled], self._zeros, self._low, self._high)

    def _count(self, x: Tensor, largest: float) -> None:
        """Count in one pass the octaves that are likely to be there, then in others what is left below."""
        import torch

        from quantbench.quant.tensors import flatten_dense

        flat, _ = flatten_dense(x)
        scratch = torch.empty(min(CHUNK, x.numel()), dtype=torch.int32, device=x.device)
        if x.numel() <= FEW:
            return self._take_bins(_bins(flat, scratch).cpu().numpy())
        highest = top = int(_bins(torch.tensor([largest], dtype=x.dtype), scratch[:1].cpu())) // OCTAVE
        parts = list(torch.split(flat, CHUNK))
        while parts:
            first = self._first(top)
            counts, below = _window(parts, scratch, first, top)
            if top == highest:
                self._zeros += int(counts[-1])
            self._take(first, counts[1:-1].reshape(-1, OCTAVE))
            parts = [part for part, left in zip(parts, below, strict=True) if left]
            top = first - 1

    def _first(self, top: int) -> int:
        """The lowest octave to count together with octave `top`: the lowest that was met, or a guess."""
        met = np.flatnonzero(self._rows[: top + 1] >= 0)
        return max(0, int(met[0]) if len(met) else top + 1 - SPAN, top + 1 - MOST)

    def _take(self, first: int, counts: NDArray[np.int64]) -> None:
        """Add the counts of consecutive octaves, [octaves, 4096]."""
        met = np.flatnonzero(counts.any(1))
        self._meet(first + met)
        self._counts[self._rows[first + met]] += counts[met].astype(self._counts.dtype)

    def _take_bins(self, bins: NDArray[np.int32]) -> None:
        """Add one to the count of each of these bins."""
        filled = bins[bins > 0]
        self._zeros += len(bins) - len(filled)
        octaves = filled >> MANTISSA
        self._meet(np.flatnonzero(np.bincount(octaves)))
        moved = (self._rows - np.arange(OCTAVES)) * OCTAVE
        np.add.at(self._counts.reshape(-1), filled + moved[octaves], self._counts.dtype.type(1))

    def _meet(self, octaves: NDArray[np.integer]) -> None:
        """Have a row for each of these octaves."""
        new = octaves[self._rows[octaves] < 0]
        if len(new):
            self._rows[new] = len(self._counts) + np.arange(len(new))
            self._counts = np.concatenate([self._counts, np.zeros((len(new), OCTAVE), self._counts.dtype)])


def _window(parts: Sequence[Tensor], scratch: Tensor, first: int, top: int) -> tuple[NDArray[np.int64], list[int]]:
    """One pass over the octaves from `first` to `top`.

    Gives how many values are below them, in each of their bins, and above or 0; and how many of each part are below.
    """
    import torch

    size = (top + 1 - first) * OCTAVE
    counts, below = None, []
    for part in parts:
        # 0 becomes the largest number here, so that no pass of its own tells it from what is below.
        index = _bins(part, scratch).sub_(1).bitwise_and_(LARGEST_BIN).sub_(first * OCTAVE - 2).clamp_(0, size + 1)
        found = torch.bincount(index, minlength=size + 2)
        below.append(found[0].clone())
        counts = found if counts is None else counts.add_(found)
    assert counts is not None
    return counts.cpu().numpy(), torch.stack(below).tolist()


def _bins(x: Tensor, out: Tensor) -> Tensor:
    """The bin of each |x| by its number, octave * 4096 + leading bits of the mantissa; int32, in memory of `out`."""
    import torch

    bins = out[: x.numel()]
    if x.dtype != torch.float64:
        bits = x.float().view(torch.int32)
        return torch.bitwise_and(bits, UNSIGNED, out=bins).bitwise_right_shift_(23 - MANTISSA)
    size = x.abs()
    # The octaves of float64 that float32 has not: those below in bins of equal width too, those above go on.
    normal = (size.view(torch.int64) >> (52 - MANTISSA)) - ((1023 - BIAS) << MANTISSA)
    return bins.copy_(torch.where(normal < OCTAVE, (size * 2.0 ** (BIAS - 1 + MANTISSA)).long(), normal))


def from_bins(bins: NDArray[np.integer], counts: NDArray[np.integer], zeros: int, low: float, high: float) -> Histogram:
    """The histogram of counts of bins by their numbers, ascending from 1 on, and of zeros.

    As many empty bins as lie side by side are one.
    """
    if zeros:
        bins, counts = np.append(0, bins), np.append(zeros, counts)
    numbers = np.unique(np.concatenate([[0], bins, bins + 1]))
    all_counts = np.zeros(len(numbers) - 1, np.int64)
    all_counts[np.searchsorted(numbers, bins)] = counts
    return Histogram(all_counts, _edges(numbers), low, high)


def _edges(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """The left edge of each bin by its number."""
    octaves, leading = np.divmod(numbers, OCTAVE)
    edges: NDArray[np.float64] = np.ldexp(leading / OCTAVE + (octaves > 0), np.maximum(octaves, 1) - BIAS)
    return edges


def describe_non_finite(x: Tensor) -> str:
    """How many values of x are NaN or infinite, in words."""
    nan, infinite = int(x.isnan().sum()), int(x.isinf().sum())
    return f"{nan} NaN and {infinite} infinite of {x.numel()} values"
