"""The baseline guard: a row whose fp32 is not the published one says nothing about the published int8 figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantbench.report.published import counterparts, is_metric, published
from quantbench.results.record import Row


@dataclass(frozen=True)
class Baseline:
    """Whether a row's fp32 is the one that the paper published, and a sentence on it."""

    verdict: str  # ok, off or unchecked
    sentence: str


def check_baseline(row: Row, details: Mapping[str, Any]) -> Baseline:
    """Hold a row's fp32 against the published one.

    It is checked only where the network, its weights and the number of samples are those of the paper, and nothing
    contradicts the published figure; everything else is `unchecked`, and the sentence says why.

    Args:
        row: any row, measured or not.
        details: what its record says beside the row; empty where only the row is known.
    """
    counterpart = counterparts().get(row.model)
    if counterpart is None:
        return Baseline("unchecked", "the paper has no such network")
    if counterpart.relation != "same":
        return Baseline("unchecked", f"not the paper's {counterpart.network}: {counterpart.why}")
    if row.fp32 is None:
        return Baseline("unchecked", "fp32 was not measured")
    metric = published("2").get((counterpart.network, "metric"))
    if metric is not None and not is_metric(row.metric, metric.value):
        return Baseline("unchecked", f"its metric is {row.metric}; the paper's is {metric.value}")
    if not counterpart.weights:
        return Baseline("unchecked", counterpart.why)
    weights = configured(details, "model").get("weights")
    if weights != counterpart.weights:
        said = "its weights are not recorded" if weights is None else f"its weights are {weights}"
        return Baseline("unchecked", f"{said}; the paper's are {counterpart.weights}")
    figure = published("2").get((counterpart.network, "fp32"))
    if figure is None or figure.number is None:
        return Baseline("unchecked", "no fp32 was published")
    if figure.confidence == "doubtful":
        return Baseline("unchecked", f"the published fp32, {figure.value}, is doubtful")
    if row.samples is None or row.samples < (counterpart.samples or 0):
        return Baseline("unchecked", f"{row.samples or 0:,} of {counterpart.samples:,} samples")
    difference, tolerance = row.fp32 - figure.number, counterpart.tolerance or 0.0
    said = f"fp32 is {row.fp32:.2f}, published {figure.number:.2f} ({difference:+.2f}, tolerance {tolerance:g})"
    return Baseline("ok" if abs(difference) <= tolerance + 1e-9 else "off", said)


def configured(details: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """A group of the configuration in a record's details (`model`, `task`, ...); empty where it says nothing of it."""
    config = details.get("config")
    found = config.get(group) if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}
