"""How much more quantization costs than it did, and how sure that is: what two rows that measure the same say of it.

The drop is `change before - change now`, in the metric's points: above 0, quantization costs more than it did. A change
is quantized - fp32 of its own run, so that fp32 that moved (other weights, another torch, another machine) is no drop.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from quantbench.errors import UserError
from quantbench.gate.effect import Answers, Effect, Mean
from quantbench.gate.pairs import Pair, change
from quantbench.results.load import Results
from quantbench.results.record import Row
from quantbench.results.stats import bootstrap
from quantbench.tasks.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

Parts = NDArray[np.float64]
Value = Callable[[Parts], float]
# Equal in two runs of the same computation only, where the digest of the outputs is, or `sqnr_db`, which is made of the
# energy of every output, to the last bit.
FINGERPRINT = (
    *("fp32", "quantized", "change", "change_low", "change_high", "samples", "agreement", "sqnr_db"),
    *("layers", "layers_quantized"),
)
TWO_SIDED_95 = float(ndtri(0.975))


@dataclass(frozen=True)
class Evidence:
    """The drop of a pair, and what it was found from: `same outputs`, `samples` or `intervals`."""

    effect: Effect
    source: str
    note: str = ""  # why it is not from samples, where both sides have records
    lower_is_better: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether both runs computed the same, so that the drop is 0 and nothing is left to chance."""
        return self.source == "same outputs"


def evidence(pair: Pair, baseline: Results, new: Results, lower_is_better: bool = False) -> Evidence:
    """From the scores of the same samples where both sides have them, else from the intervals of the two rows.

    Raises:
        UserError: a file of per-sample scores is damaged.
    """
    before, now = baseline.samples(pair.baseline.cell), new.samples(pair.new.cell)
    # What rises when it gets worse has lost what the sides, exchanged, have won.
    way = Pair(pair.new, pair.baseline) if lower_is_better else pair
    source, note = "intervals", ""
    if before is not None and now is not None:
        if before.equals(now):
            source = "same outputs"
        elif before.filter(["target"]).equals(now.filter(["target"])):  # the index too: the ids of the samples
            sides = (now, before) if lower_is_better else (before, now)
            return Evidence(_by_samples(pair, *sides), "samples", lower_is_better=lower_is_better)
        else:
            note = "the two runs have other samples"
    elif _is_same_row(pair, baseline, new) or _same_figures(pair):
        source = "same outputs"
    return Evidence(by_intervals(way), source, note, lower_is_better)


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


def _is_same_row(pair: Pair, baseline: Results, new: Results) -> bool:
    """Whether a row is compared with itself: in one and the same file, or in a copy, which has its time too."""
    same_file = os.path.realpath(baseline.path) == os.path.realpath(new.path)
    return pair.baseline == pair.new and (same_file or pair.new.started is not None)


def _same_figures(pair: Pair) -> bool:
    """By the digests of the outputs where both rows have one, else by their energies."""
    old, new = pair.baseline, pair.new
    if old.outputs_sha256 and new.outputs_sha256:
        known = old.outputs_sha256 == new.outputs_sha256
    else:
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
