"""SQuAD v1.1 (Rajpurkar et al. 2016): where in a paragraph is the answer? EM and F1 of 10,570 questions."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.assets.content import content_sha256
from quantbench.assets.huggingface import Absent, folder_of
from quantbench.errors import UserError
from quantbench.tasks.metrics.question_answering import EXACT_MATCH, F1
from quantbench.tasks.sampling import draw, reading
from quantbench.tasks.task import Sample, Task

HUB = "rajpurkar/squad"
DEV, TRAIN = "dev-v1.1.json", "train-v1.1.json"
_WORD = re.compile(r"\w+")
_HELD_BACK = 8  # where there is no training file, one paragraph in so many of the dev file calibrates


@dataclass(frozen=True)
class Question:
    """A question on a paragraph with the answers that people gave."""

    id: str
    question: str
    paragraph: str
    answers: tuple[str, ...]


def load(*, calibration_samples: int = 128, seed: int = 0, path: str | os.PathLike[str] | None = None) -> Task:
    """The task: the questions of the dev set, calibrated by one question each of training paragraphs that `seed` draws.

    `path` is a dev-v1.1.json, or a folder with it; train-v1.1.json is taken from beside it, less the paragraphs that
    are evaluated. Where that is missing, one paragraph in 8 of the dev file calibrates and its questions are not
    evaluated. Without `path` the data come through the package datasets, from the hub or its cache.

    A sample reads as a pair of str (question, paragraph), its target is a list of answers; an answer is a str.
    Raises UserError if the data cannot be had, are not SQuAD v1.1, or hold too few paragraphs or a question that its
    paragraph does not answer.
    """
    training, dev = _from_hub() if path is None else _from_files(Path(path).expanduser())
    for question in dev:
        _check_answerable(question)
    evaluated = {question.paragraph for question in dev}
    paragraphs = [question for question in _by_paragraph(training) if question.paragraph not in evaluated]
    chosen = draw(len(paragraphs), calibration_samples, seed, "paragraphs that may calibrate")
    return Task(
        name="squad",
        metrics=(F1, EXACT_MATCH),
        calibration=[_sample(paragraphs[i]) for i in chosen],
        evaluation=[_sample(question) for question in dev],
        predict=list,
    )


def _from_files(path: Path) -> tuple[list[Question], list[Question]]:
    """The questions that may calibrate and those that are evaluated."""
    found = files(path)
    if not found:
        raise UserError(f"task.path={path}: there is no {DEV}; give the file or its folder")
    file, *beside = found
    dev = list(read(file))
    if beside:
        return list(read(beside[0])), dev
    paragraphs = list(dict.fromkeys(question.paragraph for question in dev))
    if len(paragraphs) < _HELD_BACK:
        raise UserError(
            f"{file} holds {len(paragraphs)} paragraphs, too few to calibrate with one in {_HELD_BACK}: put {TRAIN} "
            "beside it"
        )
    held_back = set(paragraphs[_HELD_BACK - 1 :: _HELD_BACK])
    return (
        [question for question in dev if question.paragraph in held_back],
        [question for question in dev if question.paragraph not in held_back],
    )


def files(path: Path) -> list[Path]:
    """The files that are read where `task.path` is `path`: first what is evaluated, then what calibrates."""
    file = path / DEV if path.is_dir() else path
    return [each for each in dict.fromkeys((file, file.with_name(TRAIN))) if each.is_file()] if file.is_file() else []


def identity(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the sha256 of the files that `path` names, if it does."""
    found = files(Path(str(options["path"]))) if options.get("path") is not None else []
    return {**options, "sha256": content_sha256(*found)} if found else dict(options)


def read(path: Path) -> Iterator[Question]:
    """The questions of a file in SQuAD's JSON format. Raises UserError if it is not one, or is of SQuAD 2.0."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    answers = tuple(str(answer["text"]) for answer in asked["answers"])
                    if not answers:
                        raise UserError(f"{path}: question {asked['id']} has no answer: SQuAD v1.1 is needed, not 2.0")
                    yield Question(str(asked["id"]), str(asked["question"]), str(paragraph["context"]), answers)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not a file of SQuAD v1.1 ({type(error).__name__}: {error})") from error


def _from_hub() -> tuple[list[Question], list[Question]]:
    from datasets import load_dataset

    try:
        folder = folder_of(HUB, ("plain_text/*.parquet",), _holds_both, "dataset")
    except Absent as error:
        raise UserError(
            f"the task squad needs the data set {HUB}, which is not in the hub's cache and cannot be downloaded "
            f"({error}): give task.path=FILE, a {DEV}, with {TRAIN} beside it if you have it"
        ) from error
    files = {split: str(folder / f"plain_text/{split}-*.parquet") for split in ("train", "validation")}
    splits = load_dataset("parquet", data_files=files)

    def questions(split: str) -> list[Question]:
        return [
            Question(row["id"], row["question"], row["context"], tuple(row["answers"]["text"])) for row in splits[split]
        ]

    return questions("train"), questions("validation")


def _holds_both(folder: Path) -> bool:
    return all(any(folder.glob(f"plain_text/{split}-*.parquet")) for split in ("train", "validation"))


def _check_answerable(question: Question) -> None:
    """Raises UserError where no part of the paragraph has anything in common with any of the answers."""
    words = set(_WORD.findall(question.paragraph.lower()))
    for answer in question.answers:
        if (answer.strip() and answer in question.paragraph) or words & set(_WORD.findall(answer.lower())):
            return
    answers = " or ".join(map(repr, question.answers[:3]))
    raise UserError(f"task squad: question {question.id} has the answer {answers}, which is not in its paragraph")


def _by_paragraph(questions: Sequence[Question]) -> list[Question]:
    """The first question of each paragraph."""
    return list({question.paragraph: question for question in reversed(questions)}.values())[::-1]


def _sample(question: Question) -> Sample:
    content = "\0".join((question.question, question.paragraph, *question.answers))
    return Sample(question.id, reading((question.question, question.paragraph)), list(question.answers), content)
