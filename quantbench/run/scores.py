"""What two executions of a network say of the samples, side by side, and the figures that follow from it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from quantbench.errors import UserError
from quantbench.quant.sqnr import decibel
from quantbench.results.stats import (
    Change,
    bootstrap,
    detectable_by_interval,
    mcnemar,
    paired_change,
    smallest_detectable_drop,
    widened,
)
from quantbench.run.inputs import Inputs
from quantbench.tasks.metrics.metric import BadTarget, Metric
from quantbench.tasks.task import Task

Parts = NDArray[np.float64]
Judged = list[dict[str, Any]]
"""For each metric, and last for the prediction, columns by what is behind `fp32` and `quantized` in their names."""


def judge(task: Task, inputs: Inputs, outputs: Tensor, execution: str) -> Judged:
    """What each sample of one execution contributes to every metric, and its prediction. Outputs are [items, ...].

    Raises:
        UserError: the target of a sample is none that an answer could fit, or a metric gives it no number; the message
            names the sample.
    """
    targets = [sample.target for sample in inputs.samples]
    answers = inputs.answers(outputs)
    found: Judged = []
    for metric in task.metrics:
        try:
            parts = metric.parts(answers, targets).reshape(len(targets), -1)
        except BadTarget as error:
            raise UserError(f"task {task.name}: sample {inputs.samples[error.position].id} {error.why}") from error
        wrong = np.flatnonzero(~np.isfinite(parts).all(1) & np.array([target is not None for target in targets]))
        if len(wrong):
            said = f"{metric.name} is no finite number for {len(wrong)} of {len(targets)} samples"
            raise UserError(f"{execution}: {said}, first for {inputs.samples[wrong[0]].id}")
        found.append(dict(zip(_columns(task.metrics, metric), parts.T, strict=True)))
    found.append({"_prediction": _numbers(answers) if task.predict is None else task.predict(answers)})
    return found


def beside(inputs: Inputs, before: Judged, after: Judged, fp32: Tensor, quantized: Tensor) -> pd.DataFrame:
    """One line a sample: what each execution contributes to every metric, its prediction, and two energies.

    The scores of the first metric are the columns `fp32` and `quantized`, empty where the truth is unknown; what other
    metrics need is `fp32_<name>` and `quantized_<name>`. `signal` is the sum of the squared fp32 outputs, `noise` that
    of their differences from the quantized ones; both are empty where outputs are no numbers. `before` and `after` are
    the two executions, judged; outputs are float32 [items, ...].
    """
    targets = [sample.target for sample in inputs.samples]
    table: dict[str, Any] = {"sample": [s.id for s in inputs.samples], "target": [_written(t) for t in targets]}
    for both in zip(before, after, strict=True):
        for execution, columns in zip(("fp32", "quantized"), both, strict=True):
            table |= {execution + name: column for name, column in columns.items()}
    numbers = inputs.network.numbers
    table["signal"] = _energy(inputs, fp32) if numbers else np.nan
    table["noise"] = _energy(inputs, fp32.double() - quantized.double()) if numbers else np.nan
    frame = pd.DataFrame(table)
    return frame.astype({"target": "Int64"}) if all(t is None or isinstance(t, int) for t in targets) else frame


def scores(samples: pd.DataFrame, task: Task) -> dict[str, Any]:
    """The columns of a row that follow from the lines of `beside` alone."""
    found: dict[str, Any] = {
        "samples": len(samples),
        "agreement": None if task.predict is None else 100 * _share_of_equal(samples),
        "sqnr_db": decibel(samples.signal.sum(), samples.noise.sum()),
    }
    if not task.metrics:
        return found
    main, *more = task.metrics
    before, after = _parts(samples, task.metrics, main)
    fp32, quantized, change = _judge(main, before, after)
    found |= {
        "metric": main.name,
        "samples": len(before),
        "fp32": fp32,
        "quantized": quantized,
        "change": change.value,
        "change_low": _finite(change.low),
        "change_high": _finite(change.high),
        "relative_change": change.value / fp32 if fp32 else None,
    }
    if main.value is None:
        detectable = smallest_detectable_drop(before, after)
        right_or_wrong = bool(np.isin((before, after), (0.0, 100.0)).all())
        found["p_value"] = mcnemar(before, after) if right_or_wrong else None
    else:
        detectable = detectable_by_interval(change)
    found["detectable_drop"] = _finite(detectable)
    if more:
        fp32, quantized, change = _judge(more[0], *_parts(samples, task.metrics, more[0]))
        values = (more[0].name, fp32, quantized, change.value, _finite(change.low), _finite(change.high))
        names = ("metric", "fp32", "quantized", "change", "change_low", "change_high")
        found |= {f"secondary_{name}": value for name, value in zip(names, values, strict=True)}
    return found


def _finite(value: float) -> float | None:
    """None where a single sample says nothing of an interval."""
    return value if math.isfinite(value) else None


def _judge(metric: Metric, before: Parts, after: Parts) -> tuple[float, float, Change]:
    """The metric of both executions, and its change with the paired interval.

    Raises:
        UserError: the metric is not defined for these samples, or for some that are drawn of them.
    """
    value = metric.value
    if value is None:
        return float(before.mean()), float(after.mean()), paired_change(before, after)
    for execution, parts in (("fp32", before), ("quantized", after)):
        if not math.isfinite(found := value(parts)):
            raise UserError(f"{execution}: {metric.name} of these {len(parts)} samples is {found}, no finite number")
    try:
        change = bootstrap(lambda drawn: value(after[drawn]) - value(before[drawn]), len(before))
    except ValueError as error:
        raise UserError(f"{metric.name} has no interval: {error}; raise limit") from error
    unchanged = int((before == after).reshape(len(before), -1).all(1).sum())
    if metric.percent:
        change = widened(change, len(before), unchanged)
    elif unchanged == len(before):  # nothing is known of what it could have been
        change = Change(change.value, -math.inf, math.inf)
    return value(before), value(after), change


def _parts(samples: pd.DataFrame, metrics: tuple[Metric, ...], metric: Metric) -> tuple[Parts, Parts]:
    """What the labelled samples contribute to a metric, in both executions: float64 [n] or [n, k] each."""
    names = _columns(metrics, metric)
    labelled = samples[samples[[f"fp32{name}" for name in names]].notna().all(axis=1)]
    if labelled.empty:
        raise UserError("none of the evaluated samples has a label: raise limit")
    both = [labelled[[execution + name for name in names]].to_numpy(np.float64) for execution in ("fp32", "quantized")]
    before, after = both if metric.columns else (part[:, 0] for part in both)
    return before, after


def _columns(metrics: tuple[Metric, ...], metric: Metric) -> list[str]:
    """What is behind `fp32` and `quantized` in the names of a metric's columns."""
    if metric.columns:
        return [f"_{column}" for column in metric.columns]
    return ["" if metric is metrics[0] else f"_{metric.name}"]


def _share_of_equal(samples: pd.DataFrame) -> float:
    return float((samples.fp32_prediction == samples.quantized_prediction).mean())


def _energy(inputs: Inputs, outputs: Tensor) -> NDArray[np.float64]:
    """The sum of squares of each sample's outputs [items, ...]."""
    items = outputs.double().flatten(1).square().sum(1).numpy()
    return np.array([items[owned].sum() for owned in inputs.owned])


def _numbers(answers: Any) -> Parts:
    """One number a sample, float64 [n], whether a tensor [n, 1] holds them or a list."""
    return np.asarray(answers, np.float64).reshape(len(answers))


def _written(target: Any) -> Any:
    """A target as a cell of a table: several right answers are a JSON list."""
    return json.dumps(target, ensure_ascii=False) if isinstance(target, list | tuple) else target
