"""What two rows that measure the same say of the drop between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from quantbench.errors import UserError
from quantbench.gate.drop import Answers, Effect, Mean
from quantbench.gate.pairs import Pair
from quantbench.results.load_side import Side
from quantbench.results.record import Row
from quantbench.results.stats import bootstrap

Parts = NDArray[np.float64]
Value = Callable[[Parts], float]
# Equal in two runs of the same computation only. `sqnr_db` is made of the energy of every output, to the last bit.
FINGERPRINT = (
    *("fp32", "quantized", "change", "change_low", "change_high", "samples", "agreement", "sqnr_db"),
    *("layers", "layers_quantized"),
)
TWO_SIDED_95 = float(norm.ppf(0.975))


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


def evidence(pair: Pair, baseline: Side, new: Side) -> Evidence:
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
    change = ((new_quantized - new_fp32) - (quantized - fp32)) / 100
    samples, total, squares = len(change), float(change.sum()), float((change**2).sum())
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

    def change(drawn: NDArray[np.intp]) -> float:
        cost = value(quantized[drawn]) - value(fp32[drawn])
        return value(new_quantized[drawn]) - value(new_fp32[drawn]) - cost

    found = bootstrap(change, len(fp32))
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
    return Mean(_change(pair.baseline) - _change(pair.new), error)


def _change(row: Row) -> float:
    assert row.fp32 is not None and row.quantized is not None
    return row.quantized - row.fp32


def _error(row: Row) -> float:
    """The standard error of a row's change; infinite where it has no interval, or one without a width."""
    if row.change_low is None or row.change_high is None:
        return math.inf
    return (row.change_high - row.change_low) / (2 * TWO_SIDED_95) or math.inf


def _answers(row: Row) -> Answers | None:
    """How many answers were lost and won against fp32, by the Agresti-Min interval; None if they are no such answers.

    A row has McNemar's p value for right or wrong answers only.
    """
    error, net, samples = _error(row) / 100, -_change(row) / 100, row.samples
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
    value, names = _definition(str(pair.new.metric), before)
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


def _definition(metric: str, samples: pd.DataFrame) -> tuple[Value | None, list[str]]:
    """How a metric is made of its parts, None for their mean, and what its columns are called behind `fp32`."""
    from quantbench.tasks.lee_news import PEARSON, SPEARMAN
    from quantbench.tasks.metrics.transcription import LETTER_ACCURACY, WORD_ACCURACY

    for known in (PEARSON, SPEARMAN, WORD_ACCURACY, LETTER_ACCURACY):
        if known.name == metric:
            return known.value, [f"_{column}" for column in known.columns]
    return None, [f"_{metric}" if f"fp32_{metric}" in samples else ""]
