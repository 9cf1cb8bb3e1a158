"""How transcripts are judged: 100 minus the word error rate, as the paper counts the accuracy of speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.tasks.task import Metric


def word_errors(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """Words to insert, delete or replace to make the target of the answer, and words of the target: float64 [n, 2].

    Both are texts; NaN where the target is None.
    """
    from jiwer import process_words

    return _errors(answers, targets, process_words)


def letter_errors(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """`word_errors` of letters, blanks included."""
    from jiwer import process_characters

    return _errors(answers, targets, process_characters)


def accuracy(parts: NDArray[np.float64]) -> float:
    """100 minus the errors in percent of what was said, of the columns of [n, 2]; below 0 where errors are more."""
    errors, said = parts.sum(0)
    return 100.0 - 100.0 * float(errors / said)


WORD_ACCURACY = Metric("word_accuracy", word_errors, accuracy, ("errors", "words"))
LETTER_ACCURACY = Metric("letter_accuracy", letter_errors, accuracy, ("errors", "letters"))


def _errors(answers: Sequence[Any], targets: Sequence[Any], align: Callable[[Any, Any], Any]) -> NDArray[np.float64]:
    parts = np.full((len(targets), 2), np.nan)
    for i, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        if target is not None:
            found = align(target, answer)
            missed = found.substitutions + found.deletions
            parts[i] = missed + found.insertions, missed + found.hits
    return parts
