"""How numbers are judged that stand for people's judgement: by correlation with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import UserError
from quantbench.tasks.metrics.metric import BadTarget, Metric


def with_targets(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """Answers beside targets, float64 [n, 2]; NaN where the target is None.

    Raises BadTarget for a target that is no number, UserError for other answers.
    """
    for position, target in enumerate(targets):
        if target is not None and not (isinstance(target, int | float) and math.isfinite(target)):
            raise BadTarget(position, f"has the similarity {target!r}, which is no number")
    known = [np.nan if target is None else float(target) for target in targets]
    try:
        numbers = np.asarray(answers, np.float64).reshape(len(known))
    except ValueError as error:
        raise UserError("a correlation needs one number a sample: give a network with model.head=embedding") from error
    return np.column_stack([numbers, known])


def pearson(parts: NDArray[np.float64]) -> float:
    """Pearson's correlation of the two columns of [n, 2], in percent; 0 where one of them is constant."""
    if (np.ptp(parts, axis=0) == 0).any():  # the mean of equal values need not be exactly they
        return 0.0
    x, y = (parts - parts.mean(0)).T
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return 100.0 * float(x @ y) / norm if norm else 0.0


def spearman(parts: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of the two columns of [n, 2], in percent; equal values share their mean rank."""
    from scipy.stats import rankdata  # late: it takes as long as all else that the gate imports

    return pearson(rankdata(parts, axis=0))


PEARSON = Metric(
    "pearson",
    with_targets,
    pearson,
    ("similarity", "human"),
    kind="similarity",
    meaning="100 times the correlation with people's judgement",
    percent=True,
)
SPEARMAN = Metric(
    "spearman",
    with_targets,
    spearman,
    ("similarity", "human"),
    kind="similarity",
    meaning="100 times the correlation of ranks with people's judgement",
    percent=True,
)
