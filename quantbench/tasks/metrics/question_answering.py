"""How answers to questions on a text are judged: F1 and exact match, as SQuAD's own program does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import UserError
from quantbench.tasks.metrics.metric import Metric


def f1(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """The F1 of the words of each answer with the best fitting of its targets, in points: float64 [n]."""
    return _official(answers, targets, "f1")


def exact_match(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """100 where an answer is one of its targets but for case, punctuation and articles, else 0: float64 [n]."""
    return _official(answers, targets, "exact_match")


def _official(answers: Sequence[Any], targets: Sequence[Any], metric: str) -> NDArray[np.float64]:
    """The official metric of each question alone; that of a set is the mean. Raises UserError for other answers."""
    if not all(isinstance(answer, str) for answer in answers):
        raise UserError("squad asks for texts: give a network with model.head=question_answering")
    return np.array([_scored(a, tuple(t))[metric] for a, t in zip(answers, targets, strict=True)])


@lru_cache(maxsize=1 << 16)
def _scored(answer: str, targets: tuple[str, ...]) -> Mapping[str, float]:
    from torchmetrics.functional.text import squad

    prediction = {"prediction_text": answer, "id": ""}
    truth: dict[str, Any] = {"answers": {"answer_start": [0] * len(targets), "text": list(targets)}, "id": ""}
    return {name: float(value) for name, value in squad([prediction], [truth]).items()}


F1 = Metric(
    "f1",
    f1,
    kind="question answering",
    meaning="the mean overlap in words with the best of the right answers, in percent",
)
EXACT_MATCH = Metric(
    "exact_match",
    exact_match,
    kind="question answering",
    meaning="the percentage of questions answered with the very words",
    share=True,
)
