"""How much more quantization costs than it did, and how sure that is: what two rows that measure the same say of it.

The drop is `change before - change now`, in the metric's points: above 0, quantization costs more than it did. A change
is quantized - fp32 of its own run, so that fp32 that moved (other weights, another torch, another machine) is no drop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from quantbench.errors import UserError
from quantbench.gate.pairs import Pair, change
from quantbench.results.load import Results
from quantbench.results.record import Row
from quantbench.results.stats import bootstrap, tango_bounds, tango_score
from quantbench.tasks.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

Parts = NDArray[np.float64]
Value = Callable[[Parts], float]
# Equal in two runs of the same computation only. `sqnr_db` is made of the energy of every output, to the last bit.
FINGERPRINT = (
    *("fp32", "quantized", "change", "change_low", "change_high", "samples", "agreement", "sqnr_db"),
    *("layers", "layers_quantized"),
)
POWER = 0.8
NORMAL = NormalDist()
TWO_SIDED_95 = float(ndtri(0.975))
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


@dataclass(frozen=True)
class Evidence:
    """The drop of a pair, and what it was found from: `same outputs`, `samples` or `intervals`."""

    effect: Effect
    source: str
    note: str = ""  # why it is not from samples, where both sides have records

    @property
    def is_certain(self) -> bool:
        """Whether both runs computed the same, so that the drop is 0 and nothing is left to chance."""
        return self.source == "same outputs"


def evidence(pair: Pair, baseline: Results, new: Results) -> Evidence:
    """From the scores of the same samples where both sides have them, else from the intervals of the two rows.

    Raises:
        UserError: a file of per-sample scores is damaged.
    """
    before, now = baseline.samples(pair.baseline.cell), new.samples(pair.new.cell)
    if before is not None and now is not None:
        if before.equals(now):
            return Evidence(by_intervals(pair), "same outputs")
        if before.filter(["target"]).equals(now.filter(["target"])):  # the index too: the ids of the samples
            return Evidence(_by_samples(pair, before, now), "samples")
        return Evidence(by_intervals(pair), "intervals", "the two runs have other samples")
    if _same_figures(pair):
        return Evidence(by_intervals(pair), "same outputs")
    return Evidence(by_intervals(pair), "intervals")


def by_scores(fp32: Parts, quantized: Parts, new_fp32: Parts, new_quantized: Parts) -> Effect:
    """The drop of a mean of scores, paired over the samples that both runs evaluated.

    What counts of a sample is the difference of its two changes. Of right or wrong answers (0 or 100 points) only so
    many are lost and won, as have the sum and the sum of squares of these differences: one where fp32 is the same in
    both runs, rarely two. Other scores get Student's mean; where they lie between 0 and 100, one more sample that
    changed from end to end is counted, so that a few samples of which none changed are not taken for certainty.

    Args:
        fp32: of the baseline, float64 [n], like all others the same samples in the same order.
        quantized: of the baseline.
        new_fp32: of the new run.
        new_quantized: of the new run.
    """
    moved = ((new_quantized - new_fp32) - (quantized - fp32)) / 100
    samples, total, squares = len(moved), float(moved.sum()), float((moved**2).sum())
    scores = np.concatenate((fp32, quantized, new_fp32, new_quantized))
    if np.isin(scores, (0.0, 100.0)).all():
        return Answers((squares - total) / 2, (squares + total) / 2, samples)
    if samples < 2:
        return Mean(-100 * total / samples, math.inf)
    bounded = scores.min() >= 0 and scores.max() <= 100
    variance = (squares + bounded - total**2 / samples) / (samples - 1)
    error = 100 * math.sqrt(max(variance, 0.0) / samples)
    return Mean(-100 * total / samples, error or math.inf, samples - 1)


def by_corpus(value: Value, fp32: Parts, quantized: Parts, new_fp32: Parts, new_quantized: Parts) -> Effect:
    """The drop of a metric of the whole corpus: samples, each with all its four answers, are drawn again.

    As in `by_scores`, one more sample that changed from end to end is counted: where none of a few samples changed,
    drawing them again shows no error at all.

    Args:
        value: the metric of the parts [n, k] of some samples.
        fp32: what each sample contributes, float64 [n, k]; the others as in `by_scores`.
        quantized: of the baseline.
        new_fp32: of the new run.
        new_quantized: of the new run.
    """

    def moved(drawn: NDArray[np.intp]) -> float:
        cost = value(quantized[drawn]) - value(fp32[drawn])
        return value(new_quantized[drawn]) - value(new_fp32[drawn]) - cost

    found = bootstrap(moved, len(fp32))
    return Mean(-found.value, math.hypot((found.high - found.low) / (2 * TWO_SIDED_95), 100 / len(fp32)))


def by_intervals(pair: Pair) -> Effect:
    """The drop where nothing but the two rows is known: as if the two runs had drawn their samples independently.

    They evaluated the same ones, and quantization errs on the same few: a sample that fp32 answers right can only be
    lost, a wrong one only won, in both runs. So the two changes vary together, and this error is rather too large.
    Of right or wrong answers, the interval says how many were lost and won in each run; an answer that changed in one
    run only has changed between them.
    """
    before, now = _answers(pair.baseline), _answers(pair.new)
    if before and now and before.samples == now.samples:
        lost, won = now.lost + before.won, now.won + before.lost
        both = min(lost, won, max(0.0, (lost + won - now.samples) / 2))  # more than all answers cannot change
        return Answers(lost - both, won - both, now.samples)
    error = math.hypot(_error(pair.baseline), _error(pair.new))
    return Mean(change(pair.baseline) - change(pair.new), error)


def _error(row: Row) -> float:
    """The standard error of a row's change; infinite where it has no interval, or one without a width."""
    if row.change_low is None or row.change_high is None:
        return math.inf
    return (row.change_high - row.change_low) / (2 * TWO_SIDED_95) or math.inf


def _answers(row: Row) -> Answers | None:
    """How many answers were lost and won against fp32, by the Agresti-Min interval; None if they are no such answers.

    A row has McNemar's p value for right or wrong answers only.
    """
    error, net, samples = _error(row) / 100, -change(row) / 100, row.samples
    if row.p_value is None or samples is None or math.isinf(error):
        return None
    enlarged = samples + 2
    squares = (error * enlarged) ** 2 - 1 + (net * samples) ** 2 / enlarged
    changed = min(max(round(squares), abs(net * samples)), samples)
    return Answers((changed + net * samples) / 2, (changed - net * samples) / 2, samples)


def _same_figures(pair: Pair) -> bool:
    old, new = pair.baseline, pair.new
    known = old.sqnr_db is not None and math.isfinite(old.sqnr_db)
    return known and all(getattr(old, name) == getattr(new, name) for name in FINGERPRINT)


def _by_samples(pair: Pair, before: pd.DataFrame, now: pd.DataFrame) -> Effect:
    metric = METRICS.get(str(pair.new.metric))
    value = metric.value if metric else None
    names = [f"_{column}" for column in metric.columns] if metric else []
    if not names:
        names = [f"_{pair.new.metric}" if f"fp32_{pair.new.metric}" in before else ""]
    try:
        labelled = before[f"fp32{names[0]}"].notna() & now[f"fp32{names[0]}"].notna()
        parts = [
            table.loc[labelled, [execution + name for name in names]].to_numpy(np.float64)
            for table in (before, now)
            for execution in ("fp32", "quantized")
        ]
    except (KeyError, ValueError) as error:
        raise UserError(f"{pair.new.cell}.samples.csv: no scores of {pair.new.metric}; run the cell again") from error
    if not len(parts[0]) or not all(np.isfinite(part).all() for part in parts):
        raise UserError(f"{pair.new.cell}.samples.csv: a score is missing or no number; run the cell again")
    if value is not None:
        return by_corpus(value, *parts)
    return by_scores(*(part[:, 0] for part in parts))
