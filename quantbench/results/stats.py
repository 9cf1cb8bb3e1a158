"""Paired statistics on per-sample scores. Small and pure: NumPy and SciPy only.

Quantiles come from scipy.special: scipy.stats, which has the same ones, takes a second to import.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """The change of a metric, in its points, with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Repeats:
    """A metric over runs that differ in the seed only, in its points.

    `spread` is the standard deviation (n - 1 in the denominator), None for a single run, which has none to tell.
    """

    runs: int
    mean: float
    spread: float | None
    low: float
    high: float


def paired_change(before: Scores, after: Scores, confidence: float = 0.95) -> Change:
    """mean(after - before) with its paired interval, over samples that both have.

    Scores of 0 or 100 points (right or wrong) get the Agresti-Min interval for a difference of paired proportions
    (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions"): half a sample is
    added to each of the four cells of the paired table, so that even a sample without a single changed answer has an
    honest width. Other scores between 0 and 100 (F1) get the same by two samples more, of which half a one lost
    everything and half a one won everything: Student's interval of the enlarged sample, which on right or wrong answers
    is never narrower than Agresti and Min's. Few samples of which none changed are thus no certainty: there are changes
    too rare to be among them. Scores beyond these bounds get Student's interval of the mean difference, and an infinite
    one where all changed alike.

    Args:
        before: float64 [n], one score a sample.
        after: float64 [n], the same samples in the same order.
        confidence: of the two-sided interval, between 0 and 1.

    Raises:
        ValueError: the shapes differ, or there is no sample.
    """
    difference = _difference(before, after)
    value = float(difference.mean())
    flips = _flips(before, after)
    if flips is None and not _bounded(before, after):
        half = _student_half_width(difference, confidence)
        return Change(value, value - half, value + half)
    if flips is not None:
        centre, half = _agresti_min(*flips, len(before), confidence)
    else:
        centre, error = _enlarged(difference)
        half = float(stdtrit(len(before) + 1, (1 + confidence) / 2)) * error
    low, high = max(centre - half, -1.0) * 100, min(centre + half, 1.0) * 100
    return Change(value, min(low, value), max(high, value))


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    samples: int,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Change:
    """The paired percentile bootstrap of a metric's change, for metrics of a whole corpus: mAP, WER, BLEU.

    What is drawn again, with replacement, is samples, each with both its results, and never scores, so that a metric
    which is no mean of scores keeps its definition. The interval is made of the percentiles of the resampled changes
    (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13). Their BCa interval (chapter 14) also
    corrects for skewness, but computes the metric once more without each sample in turn, which for mAP costs more than
    the bootstrap itself, and divides 0 by 0 where no sample changed; the percentiles then have width 0, see `widened`.
    Below some 100 samples both are too narrow.

    Args:
        statistic: from the indices of samples (some repeated, some absent) to the metric's change in points; the
            indices in order give the change itself.
        samples: how many there are. One alone says nothing of the width, which is then infinite.
        resamples: how often the samples are drawn.
        confidence: of the two-sided interval, between 0 and 1.
        seed: of the draws: the same one gives the same interval.

    Raises:
        ValueError: there is no sample, or the statistic is not a finite number for some draw.
    """
    if samples < 1:
        raise ValueError("the bootstrap needs a sample to draw")
    value = float(statistic(np.arange(samples)))
    if samples == 1:
        return Change(value, -math.inf, math.inf)
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(generator.integers(samples, size=samples)) for _ in range(resamples)])
    if not np.isfinite(drawn).all():
        raise ValueError(f"the statistic is undefined for {(~np.isfinite(drawn)).sum()} of {resamples} draws")
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Change(value, float(low), float(high))


def widened(change: Change, samples: int, unchanged: int) -> Change:
    """The 95 % interval of a bootstrap, with what drawing the same samples again cannot show: rarer changes.

    Where no sample changed every draw says 0, and the percentiles claim certainty. As in `paired_change`, half a sample
    that lost everything and half a one that won everything are added, here to those that did not change at all: their
    share of a standard error of 100 / (samples + 2) points, in quadrature. With none changed that is the interval of
    Agresti and Min for right or wrong answers without a changed one; where every sample changed it is nothing.

    Args:
        change: by `bootstrap`, of a metric in which one of n equal samples is worth 100 / n points.
        samples: how many there are.
        unchanged: how many of them contribute the same to the metric in both executions.
    """
    reach = 100 * float(ndtri(0.975)) * math.sqrt(unchanged / samples) / (samples + 2)
    low, high = math.hypot(change.value - change.low, reach), math.hypot(change.high - change.value, reach)
    return Change(change.value, change.value - low, change.value + high)


def mcnemar(before: Scores, after: Scores) -> float:
    """The exact two-sided p value of "as many answers were lost as won" (McNemar 1947).

    Given the number of answers that changed, those lost are binomial with one half; 1.0 where none changed.

    Args:
        before: float64 [n], 0 or 100 points a sample.
        after: float64 [n], the same samples in the same order.

    Raises:
        ValueError: the shapes differ, there is no sample, or a score is neither 0 nor 100.
    """
    _difference(before, after)
    flips = _flips(before, after)
    if flips is None:
        raise ValueError("McNemar's test is for scores of 0 or 100 points")
    from scipy.stats import binomtest

    return float(binomtest(min(flips), sum(flips)).pvalue) if any(flips) else 1.0


def wilson(percent: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share of right answers (Wilson 1927), in percent, which stays within 0 and 100.

    Args:
        percent: right answers among the samples; what is outside of 0 to 100 counts as the nearer of the two.
        samples: how many there are, at least 1.
    """
    from scipy.stats import binomtest

    right = round(min(max(percent / 100, 0.0), 1.0) * samples)
    interval = binomtest(right, samples).proportion_ci(method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def smallest_detectable_drop(before: Scores, after: Scores, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """The smallest true drop, in points, that a sample like this one would have shown.

    "Shown" is the one-sided test by `paired_change`: its interval of confidence 2 * confidence - 1 lies below 0. A true
    drop d is found with probability `power` where d = (z(confidence) + z(power)) * standard error.

    Right or wrong answers, as shares of the samples: the change of one answer has the variance (changed - d^2), and
    the changed answers are those that go back and forth without any effect on the mean, plus the drop itself, changed =
    churn + d, so that the equation is a quadratic one in d. Churn is twice the rarer of lost and won, with the half
    samples of the Agresti-Min interval, so that a sample without any changed answer does not claim to see everything.
    This is the sample size of Connor 1987, "Sample size for testing differences in proportions for the paired-sample
    design", solved for the drop, with the variance under the drop in both terms, as the interval estimates it there.
    Good to some points of power from 10 samples on.

    Other scores between 0 and 100: the same, the churn being the variance of the changes in the enlarged sample of
    `paired_change`, and the drop taken for one of samples that lose everything. Any other scores: Student's quantiles
    and the observed standard deviation of the differences.

    Args:
        before: float64 [n], one score a sample.
        after: float64 [n], the same samples in the same order.
        confidence: of the one-sided test, between 0.5 and 1.
        power: the probability to find the drop, between 0.5 and 1.

    Returns:
        Above 0. Infinite where the sample cannot tell: too few right or wrong answers for any drop to be found, scores
        beyond 0 to 100 that are of a single sample or whose differences are all equal.

    Raises:
        ValueError: the shapes differ, or there is no sample.
    """
    difference = _difference(before, after)
    samples, flips = len(difference), _flips(before, after)
    if flips is not None:
        return 100 * _detectable_share((2 * min(flips) + 1) / (samples + 2), samples, confidence, power)
    if _bounded(before, after):
        churn = (samples + 1) * _enlarged(difference)[1] ** 2
        return 100 * _detectable_share(churn, samples, confidence, power)
    if np.ptp(difference) == 0:
        return math.inf
    quantiles = float(stdtrit(samples - 1, confidence) + stdtrit(samples - 1, power))
    return quantiles * float(difference.std(ddof=1)) / math.sqrt(samples)


def detectable_by_interval(change: Change, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """`smallest_detectable_drop` where only the two-sided 95 % interval of the change is known, taken as normal.

    Args:
        change: with its 95 % interval.
        confidence: of the one-sided test, between 0.5 and 1.
        power: the probability to find the drop, between 0.5 and 1.

    Returns:
        Above 0; infinite where the interval has no width, because then nothing is known of it.
    """
    error = (change.high - change.low) / (2 * float(ndtri(0.975)))
    return float(ndtri(confidence) + ndtri(power)) * error if error > 0 else math.inf


def repeats(values: Sequence[float]) -> Repeats:
    """What runs that differ in the seed only have in common.

    Args:
        values: the metric of every run, in points.

    Raises:
        ValueError: there is no run.
    """
    if not len(values):
        raise ValueError("there is no run to take the mean of")
    numbers = [float(value) for value in values]
    spread = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Repeats(len(numbers), statistics.mean(numbers), spread, min(numbers), max(numbers))


def _difference(before: Scores, after: Scores) -> Scores:
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise ValueError(f"paired scores must be two equal, non-empty vectors, not {before.shape} and {after.shape}")
    return after - before


def _flips(before: Scores, after: Scores) -> tuple[int, int] | None:
    """How many answers were lost and won; None if the scores are not right or wrong (100 or 0 points)."""
    if not np.isin((before, after), (0.0, 100.0)).all():
        return None
    return int((after < before).sum()), int((after > before).sum())


def _bounded(before: Scores, after: Scores) -> bool:
    """Whether all scores are between 0 and 100 points, as those of metrics in percent are."""
    return bool(min(before.min(), after.min()) >= 0 and max(before.max(), after.max()) <= 100)


def _enlarged(difference: Scores) -> tuple[float, float]:
    """Mean and standard error, as fractions, with half a sample of -100, half a one of 100 and one of 0 points more."""
    enlarged, total = len(difference) + 2, float(difference.sum()) / 100
    squares = float((difference**2).sum()) / 100**2 + 1
    variance = (squares - total**2 / enlarged) / (enlarged - 1)
    return total / enlarged, math.sqrt(variance / enlarged)


def _detectable_share(churn: float, samples: int, confidence: float, power: float) -> float:
    """The smallest d with n d^2 = k^2 (min(churn + d, 1) - d^2), k the sum of the quantiles; inf if none is found."""
    centre, half = _agresti_min(samples, 0, samples, 2 * confidence - 1)
    if centre + half >= 0:
        return math.inf
    k2 = float(ndtri(confidence) + ndtri(power)) ** 2
    drop = (k2 + math.sqrt(k2**2 + 4 * (samples + k2) * k2 * churn)) / (2 * (samples + k2))
    return min(drop, math.sqrt(k2 / (samples + k2)))  # no more than all answers can change


def _agresti_min(lost: int, won: int, samples: int, confidence: float) -> tuple[float, float]:
    """Centre and half width, as fractions, of the interval of (won - lost) / samples."""
    enlarged = samples + 2
    centre = (won - lost) / enlarged
    variance = ((won + lost + 1) - (won - lost) ** 2 / enlarged) / enlarged**2
    return centre, float(ndtri((1 + confidence) / 2)) * math.sqrt(variance)


def _student_half_width(difference: NDArray[np.float64], confidence: float) -> float:
    if np.ptp(difference) == 0:  # of a single sample, too
        return math.inf
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return float(stdtrit(len(difference) - 1, (1 + confidence) / 2)) * error
