"""TREC questions in six classes (Li and Roth 2002, "Learning question classifiers"): 5,452 to train, 500 to test."""

from __future__ import annotations

import csv
from functools import lru_cache

from quantbench.assets import fetch
from quantbench.tasks.metrics.classification import ACCURACY, predicted_class
from quantbench.tasks.sampling import damaged, draw, reading
from quantbench.tasks.task import Sample, Task

CLASSES = ("description", "entity", "abbreviation", "human", "number", "location")
"""What is asked for, in the order of the class indices."""

NAMES = tuple(map("{}, {}".format, CLASSES, ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC")))
"""The classes with the abbreviations that they have in Li and Roth's files."""

_TRAIN, _TEST = 5452, 500


def load(*, calibration_samples: int = 256, seed: int = 0) -> Task:
    """The task: the official 500 test questions, calibrated by training questions that `seed` draws.

    A sample reads as a str, its target is the class index. Raises UserError if the data cannot be had or are damaged.
    """
    training, test = training_questions(), test_questions()
    chosen = draw(len(training), calibration_samples, seed, "training questions")
    return Task(
        name="trec",
        metrics=(ACCURACY,),
        calibration=[_sample(f"train/{i:04d}", *training[i]) for i in chosen],
        evaluation=[_sample(f"test/{i:03d}", *question) for i, question in enumerate(test)],
        predict=predicted_class,
        classes=NAMES,
    )


def training_questions() -> list[tuple[str, int]]:
    """The training questions with their classes, less those that the test asks too, but for case: 11 questions."""
    asked = {question.casefold() for question, _ in test_questions()}
    return [(question, target) for question, target in _rows()[:_TRAIN] if question.casefold() not in asked]


def test_questions() -> list[tuple[str, int]]:
    """The official test questions with their classes."""
    return _rows()[_TRAIN:]


@lru_cache(maxsize=1)
def _rows() -> list[tuple[str, int]]:
    path = fetch("trec") / "trec.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["text"], int(row["label-coarse"])) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise damaged(path, repr(error)) from error
    if len(rows) != _TRAIN + _TEST:
        raise damaged(path, f"{len(rows)} questions instead of {_TRAIN + _TEST}")
    if unknown := {target for _, target in rows} - set(range(len(CLASSES))):
        raise damaged(path, f"there is no class {min(unknown)}")
    return rows


def _sample(name: str, question: str, target: int) -> Sample:
    return Sample(name, reading(question), target)
