"""Paired statistics on per-sample scores. Small and pure: NumPy and SciPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t


@dataclass(frozen=True)
class Change:
    """The mean change of a metric, in its points, with its confidence interval."""

    value: float
    low: float
    high: float


def paired_change(before: NDArray[np.float64], after: NDArray[np.float64], confidence: float = 0.95) -> Change:
    """mean(after - before) with its paired interval, over samples that both have.

    Scores of 0 or 100 points (right or wrong) get the Agresti-Min interval for a difference of paired proportions
    (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions"): half a sample is
    added to each of the four cells of the paired table, so that even a sample without a single changed answer has an
    honest width. Any other scores get Student's interval of the mean difference.

    Args:
        before: float64 [n], one score a sample.
        after: float64 [n], the same samples in the same order.
        confidence: of the two-sided interval, between 0 and 1.

    Raises:
        ValueError: the shapes differ, or there is no sample.
    """
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise ValueError(f"paired scores must be two equal, non-empty vectors, not {before.shape} and {after.shape}")
    difference = after - before
    value = float(difference.mean())
    if np.isin(before, (0.0, 100.0)).all() and np.isin(after, (0.0, 100.0)).all():
        centre, half = _agresti_min(int((difference < 0).sum()), int((difference > 0).sum()), len(before), confidence)
        low, high = max(centre - half, -1.0) * 100, min(centre + half, 1.0) * 100
    else:
        half = _student_half_width(difference, confidence)
        low, high = value - half, value + half
    return Change(value, low, high)


def _agresti_min(lost: int, won: int, samples: int, confidence: float) -> tuple[float, float]:
    """Centre and half width, as fractions, of the interval of (won - lost) / samples."""
    enlarged = samples + 2
    centre = (won - lost) / enlarged
    variance = ((won + lost + 1) - (won - lost) ** 2 / enlarged) / enlarged**2
    return centre, float(norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)


def _student_half_width(difference: NDArray[np.float64], confidence: float) -> float:
    if len(difference) < 2:
        return math.inf
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return float(t.ppf((1 + confidence) / 2, len(difference) - 1)) * error
