"""Exact, streaming, mergeable counts of |x|.

Bin widths are powers of two and edges are multiples of the width. The final histogram therefore depends only on the
values, not on how they were split into batches or in which order they came: growing merges neighbouring bins exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.quant import QuantizationError

if TYPE_CHECKING:  # who only reads histograms, as a report does, needs no torch
    from torch import Tensor

BINS = 8192
# Values counted at once: what it takes beside the tensor is 12 bytes for each of these.
CHUNK = 1 << 18
# 2^-100 keeps |x| / width finite in float32 for every |x| that falls into a bin.
SMALLEST_EXPONENT = -100


@dataclass(frozen=True)
class Histogram:
    """Counts of |x| over equal bins.

    `counts` is int64 [n]; bin i holds i * width <= |x| - start < (i + 1) * width. `low` and `high` are the least and
    the largest x (signed) themselves. Any positive width and any start are valid; what is collected here starts at 0
    and has a power of two for its width.
    """

    counts: NDArray[np.int64]
    width: float
    low: float
    high: float
    start: float = 0.0

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def largest(self) -> float:
        """The largest |x|, exactly."""
        return max(abs(self.low), abs(self.high))

    @property
    def edges(self) -> NDArray[np.float64]:
        """The n + 1 edges of the bins, float64."""
        return self.start + np.arange(len(self.counts) + 1, dtype=np.float64) * self.width

    def coarsened(self, limit: int) -> Histogram:
        """The same counts in at most `limit` occupied bins: neighbours are merged by a power of two, exactly.

        Empty bins above the largest value are cut off.
        """
        occupied = np.flatnonzero(self.counts)
        used = int(occupied[-1]) + 1 if len(occupied) else 1
        factor = 1
        while math.ceil(used / factor) > limit:
            factor *= 2
        size = math.ceil(used / factor)
        padded = np.zeros(size * factor, np.int64)
        padded[:used] = self.counts[:used]
        return Histogram(padded.reshape(size, factor).sum(1), self.width * factor, self.low, self.high, self.start)

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of values, as one pass over them together would have given it.

        Raises:
            ValueError: the numbers of bins differ, a start is not 0, or the ratio of widths is no power of two.
        """
        narrow, wide = sorted((self, other), key=lambda h: h.width)
        ratio = wide.width / narrow.width
        alike = len(self.counts) == len(other.counts) and self.start == other.start == 0
        if not alike or ratio != 2.0 ** round(math.log2(ratio)):
            raise ValueError("histograms merge only with as many bins, a start of 0 and widths that are powers of two")
        counts = wide.counts + _regrouped(narrow.counts, round(ratio))
        return Histogram(counts, wide.width, min(self.low, other.low), max(self.high, other.high))


def _regrouped(counts: NDArray[np.int64], factor: int) -> NDArray[np.int64]:
    """The counts with `factor` neighbours merged into one, padded with zeros to the same number of bins."""
    merged = counts.reshape(-1, min(factor, len(counts))).sum(1)
    return np.pad(merged, (0, len(counts) - len(merged)))


class HistogramCounter:
    """Counts |x| of a stream of tensors in fixed memory."""

    def __init__(self, bins: int = BINS) -> None:
        """Start empty, with a power of two of bins."""
        if bins < 1 or bins & (bins - 1):
            raise ValueError(f"the number of bins must be a power of two, not {bins}")
        self._counts = np.zeros(bins, np.int64)
        self._exponent = SMALLEST_EXPONENT
        self._low, self._high = math.inf, -math.inf

    def add(self, x: Tensor) -> None:
        """Count every value of a float tensor of any shape.

        Raises:
            QuantizationError: x holds NaN or an infinity; nothing of it was counted.
        """
        if x.numel() == 0:
            return
        low, high = (float(end) for end in x.detach().aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise QuantizationError(describe_non_finite(x))
        self._grow(max(abs(low), abs(high)))
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._counts += _count(x.detach(), 2.0**-self._exponent, len(self._counts))

    def histogram(self) -> Histogram:
        """What was counted so far.

        Raises:
            QuantizationError: nothing was counted.
        """
        if self._low > self._high:
            raise QuantizationError("no value was counted")
        return Histogram(self._counts.copy(), 2.0**self._exponent, self._low, self._high)

    def _grow(self, largest: float) -> None:
        """Double the width until the largest value falls below the last edge."""
        # frexp gives largest < 2^exponent, hence bins * 2^(exponent - log2 bins) > largest.
        exponent = math.frexp(largest)[1] - (len(self._counts).bit_length() - 1)
        if largest and exponent > self._exponent:
            self._counts = _regrouped(self._counts, 2 ** (exponent - self._exponent))
            self._exponent = exponent


def _count(x: Tensor, inverse_width: float, bins: int) -> NDArray[np.int64]:
    """Bin counts of |x|: multiplying by a power of two is exact, so truncation gives the exact bin."""
    import torch

    from quantbench.quant.tensors import flatten_dense

    flat, _ = flatten_dense(x)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    scaled = torch.empty(min(CHUNK, flat.numel()), dtype=dtype, device=x.device)
    index = torch.empty_like(scaled, dtype=torch.int64)
    counts = torch.zeros(bins, dtype=torch.int64, device=x.device)
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK]
        scratch, bucket = scaled[: part.numel()], index[: part.numel()]
        scratch.copy_(part)
        bucket.copy_(scratch.abs_().mul_(inverse_width))
        counts += torch.bincount(bucket, minlength=bins)
    return counts.cpu().numpy()


def describe_non_finite(x: Tensor) -> str:
    """How many values of x are NaN or infinite, in words."""
    nan, infinite = int(x.isnan().sum()), int(x.isinf().sum())
    return f"{nan} NaN and {infinite} infinite of {x.numel()} values"
