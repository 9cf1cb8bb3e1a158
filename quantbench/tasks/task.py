"""What the rest of the program knows of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from quantbench.tasks.metrics.metric import Metric


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
    """Data, splits and metrics.

    `calibration` and `evaluation` share no sample; both are sequences in a fixed order and may decode on access.
    `metrics` are the one that is reported first, and possibly another; there is none where nobody knows a right answer.
    Answers are what a network makes of samples: class logits [n, classes], numbers, or texts. `predict(answers)` gives
    one word a sample, whose equality is the agreement of two executions; None where answers are numbers.
    `classes` are the names of what targets count, commas between several names of one; None where targets are no
    classes or nobody knows their names. `remarks` are sentences that the user shall read, as on files not read.
    """

    name: str
    metrics: tuple[Metric, ...]
    calibration: Sequence[Sample]
    evaluation: Sequence[Sample]
    predict: Callable[[Sequence[Any]], Sequence[Any]] | None
    classes: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Noise:
    """Stands for a raw input: the network draws an item of its own kind and full size."""

    seed: int
