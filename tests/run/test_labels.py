"""Labels that no answer could fit, and metrics that are no number: a clear line and a failed cell, never a figure."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from quantbench import tasks
from quantbench.cli import main as cli
from quantbench.errors import UserError
from quantbench.tasks.metrics.correlation import PEARSON
from quantbench.tasks.metrics.metric import Metric
from quantbench.tasks.metrics.transcription import WORD_ACCURACY, texts_alike
from tests import faulty


@pytest.fixture
def run(folder, monkeypatch):
    """`quantbench run` of the faulty network, as exit code and standard error."""
    command = faulty.install(folder, monkeypatch)

    def called(capsys, *overrides):
        code = cli.main([*command, *overrides])
        captured = capsys.readouterr()
        assert "nan" not in captured.out.lower() and "Traceback" not in captured.err
        return code, captured.err

    return called


def row():
    with open("quantbench-results/results.csv", newline="", encoding="utf-8") as file:
        (found,) = csv.DictReader(file)
    return found


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (5, "has the label 5, but the network has 5 classes"),
        (-1, "has the label -1, but the network has 5 classes"),
        (1.5, "has the label 1.5, which is no class: it must be an integer"),
        (True, "has the label True, which is no class: it must be an integer"),
        ("cat", "has the label 'cat', which is no class: it must be an integer"),
    ],
)
def test_a_label_that_is_no_class_is_named_before_anything_is_calibrated(run, capsys, monkeypatch, label, said):
    seen = []
    monkeypatch.setattr(faulty.Settings, "targets", staticmethod(lambda right: [*right[:7], label, label, *right[9:]]))
    monkeypatch.setattr(faulty.Settings, "before", staticmethod(lambda kind, _: seen.append(kind)))
    code, error = run(capsys)
    assert code == 2
    assert f"a8 max: task faulty: sample test/7 {said}\n" in error
    assert (row()["status"], row()["quantized"]) == ("failed", "")
    assert set(seen) == {"fp32"}


@pytest.mark.slow
def test_a_folder_with_more_classes_than_the_network_is_refused(folder, capsys):
    for split in ("val", "train"):
        for i in range(1001):
            path = folder / "photos" / split / f"n{i:04d}"
            path.mkdir(parents=True)
            if i in (3, 1000):
                Image.new("RGB", (32, 32)).save(path / "a.jpeg")
    sizes = ("limit=2", "task.calibration_samples=1", "model.weights=random", "batch_size=1")
    command = ("run", "model=efficientnet_lite0", "task=imagenet", *sizes)
    assert cli.main([*command, "task.path=photos", "task.classes=1001"]) == 2
    assert "the task imagenet 1001 classes" in (said := capsys.readouterr().err) and "they do not fit" in said


@pytest.mark.parametrize("answers", [["Napoleon"], [""], ["  ", "Elba"]])
def test_a_question_that_its_paragraph_does_not_answer_is_named(tmp_path, answers):
    found = [{"text": answer, "answer_start": 0} for answer in answers]
    good = {"id": "q0", "question": "Who?", "answers": [{"text": "the CAT", "answer_start": 0}]}
    bad = {"id": "q1", "question": "Who?", "answers": found}
    for name, asked in (("train-v1.1.json", [good]), ("dev-v1.1.json", [good, bad])):
        paragraphs = [{"context": f"A cat sat in {name}.", "qas": asked}]
        content = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    said = f"task squad: question q1 has the answer {' or '.join(map(repr, answers))}, which is not in its paragraph"
    with pytest.raises(UserError, match=f"^{said}$"):
        tasks.load({"name": "squad", "path": str(tmp_path), "calibration_samples": 1})


@pytest.mark.parametrize("transcript", ["", "?!", 7])
def test_a_transcript_without_words_is_named(run, capsys, monkeypatch, transcript):
    monkeypatch.setattr(faulty.Settings, "metrics", (Metric("wacc", transcripts, WORD_ACCURACY.value, ("e", "w")),))
    monkeypatch.setattr(faulty.Settings, "targets", staticmethod(lambda right: ["a b", transcript, *["c"] * 18]))
    code, error = run(capsys)
    said = f"task faulty: sample test/1 has the transcript {transcript!r}, in which nothing is said: leave it out"
    assert code == 2 and said in error


def transcripts(outputs, targets):
    return WORD_ACCURACY.parts(texts_alike(["a b"] * len(outputs)), targets)


def numbers(outputs, targets):
    """Each sample's first output as its similarity."""
    return PEARSON.parts([float(output[0]) for output in outputs], targets)


def similarity(monkeypatch, parts=numbers, value=PEARSON.value):
    monkeypatch.setattr(faulty.Settings, "metrics", (Metric("pearson", parts, value, PEARSON.columns),))
    monkeypatch.setattr(faulty.Settings, "targets", staticmethod(lambda right: [i / 20 for i in range(20)]))


@pytest.mark.parametrize("target", [float("nan"), float("inf"), "alike"])
def test_a_similarity_that_is_no_number_is_named(run, capsys, monkeypatch, target):
    similarity(monkeypatch)
    monkeypatch.setattr(faulty.Settings, "targets", staticmethod(lambda right: [0.5, 0.5, target, *[0.1] * 17]))
    code, error = run(capsys)
    assert code == 2
    assert f"task faulty: sample test/2 has the similarity {target!r}, which is no number" in error


def test_constant_answers_correlate_with_nothing(run, capsys, monkeypatch):
    similarity(monkeypatch, lambda outputs, targets: PEARSON.parts([0.25] * len(outputs), targets))
    assert run(capsys)[0] == 0
    assert (row()["status"], row()["fp32"], row()["quantized"]) == ("ok", "0", "0")


def worse(outputs, targets):
    parts = numbers(outputs, targets)
    parts[4:6, 0] = (np.nan, np.inf)
    return parts


def undefined(parts):
    """Not defined where the first sample is not among those that are drawn."""
    return 1.0 if (parts[:, 1] == 0).any() else float("nan")


@pytest.mark.parametrize(
    ("parts", "value", "said"),
    [
        (worse, PEARSON.value, "fp32: pearson is no finite number for 2 of 20 samples, first for test/4"),
        (numbers, lambda parts: np.nan, "fp32: pearson of these 20 samples is nan, no finite number"),
        (numbers, lambda parts: np.inf, "fp32: pearson of these 20 samples is inf, no finite number"),
        (numbers, undefined, "pearson has no interval: the statistic is undefined for "),
    ],
)
def test_a_metric_that_is_no_number_fails_the_cell(run, capsys, monkeypatch, parts, value, said):
    similarity(monkeypatch, parts, value)
    code, error = run(capsys)
    assert code == 2 and f"a8 max: {said}" in error
    assert (row()["status"], row()["fp32"], row()["change"]) == ("failed", "", "")
    assert cli.main(["report"]) == 2  # nothing was measured, and it says so
    assert "Traceback" not in capsys.readouterr().err


def test_samples_without_any_label_fail_the_cell(run, capsys, monkeypatch):
    monkeypatch.setattr(faulty.Settings, "targets", staticmethod(lambda right: [None] * 20))
    code, error = run(capsys)
    assert code == 2 and "none of the evaluated samples has a label: raise limit" in error


def test_a_task_without_samples_fails_the_cell(run, capsys, monkeypatch):
    monkeypatch.setattr(faulty.Settings, "targets", staticmethod(lambda right: []))
    code, error = run(capsys)
    assert code == 2 and "task faulty: there is no sample to evaluate" in error
