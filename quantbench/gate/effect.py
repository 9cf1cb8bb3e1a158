"""A drop in points with what is known of its error: of right or wrong answers, or of any mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from scipy.special import stdtr, stdtrit

from quantbench.gate.tango import tango_bounds, tango_score

POWER = 0.8
NORMAL = NormalDist()
STEPS = 60


class Effect(Protocol):
    """A drop with what is known of its error. Numbers are points, probabilities from 0 to 1."""

    @property
    def drop(self) -> float:
        """The estimate."""

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The lower and the upper one-sided bound, each of the confidence given."""

    def p_above(self, tolerance: float) -> float:
        """The one-sided p value of "the true drop is at most `tolerance`": small where it is more."""

    def excludes(self, tolerance: float, confidence: float) -> bool:
        """Whether a true drop of `tolerance` or more is excluded at this one-sided confidence."""

    def detectable(self, tolerance: float, confidence: float) -> float:
        """The smallest true drop that is shown to be above `tolerance` with probability 0.8; infinite if none is."""


@dataclass(frozen=True)
class Answers:
    """Right or wrong answers: Tango's score test."""

    lost: float
    won: float
    samples: int

    @property
    def drop(self) -> float:
        """The share of answers lost less that of answers won, in points."""
        return 100 * (self.lost - self.won) / self.samples

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The one-sided bounds of the score test."""
        low, high = tango_bounds(self.lost, self.won, self.samples, NORMAL.inv_cdf(confidence))
        return 100 * low, 100 * high

    def p_above(self, tolerance: float) -> float:
        """From the score statistic, taken as normal."""
        return math.erfc(self._score(tolerance) / math.sqrt(2)) / 2

    def excludes(self, tolerance: float, confidence: float) -> bool:
        """Whether the score statistic is as low as that."""
        return self._score(tolerance) <= -NORMAL.inv_cdf(confidence)

    def detectable(self, tolerance: float, confidence: float) -> float:
        """By the normal approximation, with the variance under the tolerance and under the drop (Connor 1987).

        The answers that change are those that go back and forth without an effect, twice the rarer of lost and won
        with half a sample more, and the drop.
        """
        churn = (2 * min(self.lost, self.won) + 1) / (self.samples + 2)
        allowed = min(tolerance / 100, 1.0)

        def error(drop: float) -> float:
            return math.sqrt(max(min(churn + drop, 1.0) - drop * drop, 0.0) / self.samples)

        reach, power = NORMAL.inv_cdf(confidence) * error(allowed), NORMAL.inv_cdf(POWER)
        low, high = allowed, 1.0
        if high - allowed < reach + power * error(high):
            return math.inf
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if middle - allowed < reach + power * error(middle) else (low, middle)
        return 100 * high

    def _score(self, tolerance: float) -> float:
        return tango_score(self.lost, self.won, self.samples, min(tolerance / 100, 1.0))


@dataclass(frozen=True)
class Mean:
    """A mean, or a metric of the whole corpus, with its standard error: Student's or the normal distribution."""

    drop: float
    error: float  # infinite where nothing is known of it
    degrees: float = math.inf

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Both are infinite where the error is."""
        reach = self._quantile(confidence) * self.error
        return self.drop - reach, self.drop + reach

    def p_above(self, tolerance: float) -> float:
        """0 or 1 where there is no error, 1 where it is not known."""
        if self.error == 0 or math.isinf(self.error):
            return 0.0 if self.error == 0 and self.drop > tolerance else 1.0
        return float(stdtr(self.degrees, -(self.drop - tolerance) / self.error))

    def excludes(self, tolerance: float, confidence: float) -> bool:
        """Whether the upper bound is below the tolerance."""
        return self.bounds(confidence)[1] < tolerance

    def detectable(self, tolerance: float, confidence: float) -> float:
        """The tolerance and so many errors."""
        return tolerance + (self._quantile(confidence) + self._quantile(POWER)) * self.error

    def _quantile(self, confidence: float) -> float:
        return float(stdtrit(self.degrees, confidence))
