"""Sentences of movie reviews, positive or negative, as 20 people each rated them (Hutto and Gilbert 2014, "VADER").

Their 10,605 ratings from -4 to 4 are taken by their sign, as SST-2 does. Publishers made no split: ours is by the
SHA-256 of the sentence, so it is the same for everybody and a sentence that occurs twice is on one side only.
"""

from __future__ import annotations

import csv
from functools import lru_cache

from quantbench.assets import fetch
from quantbench.tasks.metrics.classification import ACCURACY, predicted_class
from quantbench.tasks.sampling import by_hash, damaged, draw, reading
from quantbench.tasks.task import Sample, Task

CLASSES = ("negative", "positive")
NAMES = ("negative, neg", "positive, pos")
TEST = 2000
"""Sentences that are held back for the test."""

_LINES = 10_605
_SPLIT = "movie_sentences 1"  # seed of the split, which is made once and for all


def load(*, calibration_samples: int = 256, seed: int = 0) -> Task:
    """The task: 2,000 test sentences, calibrated by training sentences that `seed` draws.

    A sample reads as a str, its target is 1 where people found it positive. Raises UserError if the data cannot be had
    or are damaged.
    """
    training, test = training_sentences(), test_sentences()
    chosen = draw(len(training), calibration_samples, seed, "training sentences")
    return Task(
        name="movie_sentences",
        metrics=(ACCURACY,),
        calibration=[_sample(*training[i]) for i in chosen],
        evaluation=[_sample(*sentence) for sentence in test],
        predict=predicted_class,
        classes=NAMES,
    )


def training_sentences() -> list[tuple[str, str, int]]:
    """Identifier, sentence and class of what may be trained and calibrated on."""
    return list(_shuffled()[TEST:])


def test_sentences() -> list[tuple[str, str, int]]:
    """Identifier, sentence and class of the test."""
    return list(_shuffled()[:TEST])


@lru_cache(maxsize=1)
def _shuffled() -> tuple[tuple[str, str, int], ...]:
    """All sentences once, in the order of the split, less the 37 that people found neutral."""
    path = fetch("movie_sentences") / "movieReviewSnippets_GroundTruth.txt"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        rated = {line["text"]: (line["id"], line["text"], float(line["sentiment"])) for line in lines}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise damaged(path, repr(error)) from error
    if len(lines) != _LINES:
        raise damaged(path, f"{len(lines)} sentences instead of {_LINES}")
    sentences = [(name, text, int(rating > 0)) for name, text, rating in rated.values() if rating != 0]
    return tuple(by_hash(sentences, [text for _, text, _ in sentences], _SPLIT))


def _sample(name: str, sentence: str, target: int) -> Sample:
    return Sample(name, reading(sentence), target)
