"""What a metric is."""

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
class Metric:
    """How answers are judged, in points.

    `parts(answers, targets)` is what each sample contributes: float64 [n], or [n, k] with the names `columns`; NaN
    where the target is None; it raises BadTarget for a target that no answer could fit. `value` makes the metric of a
    set of samples of their parts; where it is None, the parts are scores and the metric is their mean.

    All of them are better when higher, whatever others mean by their name.

    A report says `kind`, what networks that are judged so do (the paper's table 2 calls it task), and `meaning`, what
    the figure is. `share` is true of a share of right answers among the samples, which has a binomial interval.
    `percent` is true of a metric of the whole set in percent, of which one of n samples is worth some 100 / n points.
    """

    name: str
    parts: Callable[[Sequence[Any], Sequence[Any]], NDArray[np.float64]]
    value: Callable[[NDArray[np.float64]], float] | None = None
    columns: tuple[str, ...] = ()
    kind: str = ""
    meaning: str = ""
    share: bool = False
    percent: bool = False
