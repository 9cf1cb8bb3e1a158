"""How classifications are judged: top-1 accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import UserError
from quantbench.tasks.metrics.metric import BadTarget, Metric


def top1(outputs: Any, targets: Sequence[Any]) -> NDArray[np.float64]:
    """Top-1 accuracy in points for each sample: 100 or 0, NaN where the target is None.

    `outputs` are logits [N, classes] of any float type, `targets` N class indices. Of equal logits, which quantized
    networks often have, the first counts; a row that holds a NaN is wrong. Raises BadTarget if a target is not one of
    the network's classes, UserError if there are no samples.
    """
    outputs = _numbers(outputs)
    if outputs.ndim != 2 or len(outputs) != len(targets):
        raise ValueError(f"outputs of shape {outputs.shape} for {len(targets)} targets")
    if not len(targets):
        raise UserError("top-1 of no samples: the data set is empty")
    classes = outputs.shape[1]
    for position, target in enumerate(targets):
        if target is None:
            continue
        if isinstance(target, bool) or not isinstance(target, int | np.integer):
            raise BadTarget(position, f"has the label {target!r}, which is no class: it must be an integer")
        if not 0 <= target < classes:
            raise BadTarget(position, f"has the label {target}, but the network has {classes} classes")
    truth = np.array([np.nan if target is None else target for target in targets], np.float64)
    return np.where(np.isnan(truth), np.nan, 100.0 * (np.array(predicted_class(outputs)) == truth))


def predicted_class(outputs: Any) -> list[int]:
    """The class index with the largest of the logits [N, classes]: the first of equal ones, -1 where one is NaN."""
    logits = _numbers(outputs)
    return [int(index) for index in np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))]


def _numbers(outputs: Any) -> NDArray[np.float64]:
    """Logits as float64, whether they are a tensor of any float type or an array; without an import of torch."""
    if hasattr(outputs, "detach"):
        outputs = outputs.detach().cpu().double().numpy()
    return np.asarray(outputs, np.float64)


ACCURACY = Metric(
    "top1", top1, kind="classification", meaning="the percentage of samples whose first answer is right", share=True
)
"""Top-1 accuracy in percent."""
