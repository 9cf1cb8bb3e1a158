"""What the rest of the program knows of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One raw example, that `read` decodes. `target` is None where nobody knows it; it counts for agreement only.

    `version` changes with the content of a file that only the user knows, such as its size and time.
    """

    id: str
    read: Callable[[], Any]
    target: Any
    version: str = ""


@dataclass(frozen=True)
class Task:
    """Data, splits and metric.

    `calibration` and `evaluation` share no sample; both are sequences in a fixed order and may decode on access.
    `score(outputs, targets)` gives one float64 score a sample in the metric's points (top-1: 0 or 100), NaN where the
    target is None; the metric of a set is the mean of the scores that are not NaN. `predict(outputs)` gives one answer
    a sample, whose equality is the agreement of two executions.
    """

    name: str
    metric: str
    calibration: Sequence[Sample]
    evaluation: Sequence[Sample]
    score: Callable[[Tensor, Sequence[Any]], NDArray[np.float64]]
    predict: Callable[[Tensor], Sequence[Any]]
