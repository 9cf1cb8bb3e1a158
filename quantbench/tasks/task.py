"""What the rest of the program knows of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import UserError


class BadTarget(UserError):
    """A target that no answer could fit. `position` is its place among the targets; `why` goes on after the sample."""

    def __init__(self, position: int, why: str) -> None:
        """Such as 3, `has the label 12, but the network has 10 classes`."""
        super().__init__(f"sample {position} {why}")
        self.position, self.why = position, why


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
class Metric:
    """How answers are judged, in points.

    `parts(answers, targets)` is what each sample contributes: float64 [n], or [n, k] with the names `columns`; NaN
    where the target is None; it raises BadTarget for a target that no answer could fit. `value` makes the metric of a
    set of samples of their parts; where it is None, the parts are scores and the metric is their mean.
    """

    name: str
    parts: Callable[[Sequence[Any], Sequence[Any]], NDArray[np.float64]]
    value: Callable[[NDArray[np.float64]], float] | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """Data, splits and metrics.

    `calibration` and `evaluation` share no sample; both are sequences in a fixed order and may decode on access.
    `metrics` are the one that is reported first, and possibly another; there is none where nobody knows a right answer.
    Answers are what a network makes of samples: class logits [n, classes], numbers, or texts. `predict(answers)` gives
    one word a sample, whose equality is the agreement of two executions; None where answers are numbers.
    """

    name: str
    metrics: tuple[Metric, ...]
    calibration: Sequence[Sample]
    evaluation: Sequence[Sample]
    predict: Callable[[Sequence[Any]], Sequence[Any]] | None
