"""How transcripts are judged: 100 minus the word error rate, as the paper counts the accuracy of speech.

References and answers are written alike before they are compared: lower case, accents taken off, everything but
letters, digits and apostrophes a space, apostrophes at the ends of words dropped. Numbers and abbreviations are not
spelled out: an answer "2" to "two" and "Mr." to "mister" are errors.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import UserError
from quantbench.tasks.metrics.metric import BadTarget, Metric


def written_alike(text: str) -> str:
    """The words of a text with single spaces between them, as they are compared; empty where there are none."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    words = (word.strip("'") for word in re.sub(r"[^\w']|_", " ", bare).split())
    return " ".join(word for word in words if word)


def texts_alike(answers: Sequence[Any]) -> list[str]:
    """The answers as they are compared: two executions agree on a sample where these are equal."""
    return [written_alike(answer) for answer in answers]


def word_errors(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """Words to insert, delete or replace to make each target of its answer, and the words of it: float64 [n, 2].

    Both are texts; NaN where the target is None. Raises UserError for other answers, and BadTarget for a target
    without words.
    """
    from jiwer import process_words

    return _errors(answers, targets, process_words)


def letter_errors(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """`word_errors` of letters, spaces included."""
    from jiwer import process_characters

    return _errors(answers, targets, process_characters)


def accuracy(parts: NDArray[np.float64]) -> float:
    """100 minus the errors in percent of what was said, of the columns of [n, 2]; below 0 where errors are more."""
    errors, said = parts.sum(0)
    return 100.0 - 100.0 * float(errors / said)


WORD_ACCURACY = Metric(
    "wacc",
    word_errors,
    accuracy,
    ("errors", "words"),
    kind="speech recognition",
    meaning="100 minus the word error rate of all utterances together, in percent",
    percent=True,
)
LETTER_ACCURACY = Metric(
    "cacc",
    letter_errors,
    accuracy,
    ("letter_errors", "letters"),
    kind="speech recognition",
    meaning="100 minus the letter error rate of all utterances together, in percent",
    percent=True,
)


def _errors(answers: Sequence[Any], targets: Sequence[Any], align: Callable[[Any, Any], Any]) -> NDArray[np.float64]:
    parts = np.full((len(targets), 2), np.nan)
    for i, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        if target is None:
            continue
        if not isinstance(answer, str):
            raise UserError("a transcript is asked for: give a network that answers speech with text")
        reference = written_alike(target) if isinstance(target, str) else ""
        if not reference:
            raise BadTarget(i, f"has the transcript {target!r}, in which nothing is said: leave it out")
        found = align(reference, written_alike(answer))
        missed = found.substitutions + found.deletions
        parts[i] = missed + found.insertions, missed + found.hits
    return parts
