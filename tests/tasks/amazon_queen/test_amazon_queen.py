from __future__ import annotations

import numpy as np
import pytest

from quantbench import tasks
from quantbench.errors import UserError
from quantbench.tasks import amazon_queen
from quantbench.tasks.amazon_queen import clips as talkie
from quantbench.tasks.amazon_queen.clips import Clip

CLIPS = {
    name: [Clip(f"{name}{i:02}", "joe", f"clip {i}", b"") for i in range(count)]
    for name, count in (("train", 30), ("test", 12))
}


@pytest.fixture(autouse=True)
def clips(monkeypatch):
    monkeypatch.setattr(amazon_queen, "split", CLIPS.__getitem__)


def load(**options):
    return tasks.load({"name": "amazon_queen", "calibration_samples": 5, "seed": 0, **options})


def test_test_clips_are_evaluated_in_one_order_and_training_clips_calibrate():
    every, some = load(), load(clips=4, seed=1)
    assert {sample.id for sample in every.evaluation} == {clip.id for clip in CLIPS["test"]}
    assert [sample.id for sample in every.evaluation] != [clip.id for clip in CLIPS["test"]]
    assert [sample.id for sample in some.evaluation] == [sample.id for sample in every.evaluation[:4]]
    assert every.evaluation[0].target == f"clip {int(every.evaluation[0].id[-2:])}"
    assert {sample.id for sample in every.calibration} < {clip.id for clip in CLIPS["train"]}
    assert [s.id for s in load().calibration] == [s.id for s in every.calibration] != [s.id for s in some.calibration]
    assert every.predict(["A clip!"]) == ["a clip"]


def test_letters_can_come_first():
    assert [metric.name for metric in load().metrics] == ["wacc", "cacc"]
    assert [metric.name for metric in load(metric="cacc").metrics] == ["cacc", "wacc"]
    with pytest.raises(UserError, match=r"task\.metric=top1: must be one of wacc, cacc"):
        load(metric="top1")


def test_short_clips_can_be_left_out(monkeypatch):
    clips = {name: [Clip(f"{name}{i}", "joe", "word " * i, b"") for i in range(1, 10)] for name in ("train", "test")}
    monkeypatch.setattr(amazon_queen, "split", clips.__getitem__)
    found = load(least_words=5)
    assert sorted(sample.id for sample in found.evaluation) == [f"test{i}" for i in range(5, 10)]
    assert sorted(sample.id for sample in found.calibration) == [f"train{i}" for i in range(5, 10)]
    with pytest.raises(UserError, match="from 1 to 5, the test clips of at least 5 words"):
        load(least_words=5, clips=6)
    with pytest.raises(UserError, match=r"task\.least_words=0"):
        load(least_words=0)


@pytest.mark.parametrize("count", [0, 13, True, 2.5, "all"])
def test_a_number_of_clips_that_cannot_be(count):
    with pytest.raises(UserError, match=r"task\.clips=.*: must be null or an integer from 1 to 12"):
        load(clips=count)


def test_the_real_clips(monkeypatch):
    monkeypatch.setattr(amazon_queen, "split", talkie.split)
    task = load(calibration_samples=20, seed=3)
    assert [metric.name for metric in task.metrics] == ["wacc", "cacc"]
    assert len(task.evaluation) == 384 and len(task.calibration) == 20
    assert len({talkie.clips()[sample.id].speaker for sample in task.evaluation[:40]}) == 5
    sample = task.evaluation[0]
    assert sample.read().dtype == np.float32 and sample.target == talkie.clips()[sample.id].text
    with pytest.raises(UserError, match="from 1 to 3596, the number of training clips"):
        load(calibration_samples=3597)


@pytest.mark.slow
def test_whisper_understands_most_of_what_is_said(monkeypatch):
    from jiwer import wer

    from quantbench import networks
    from quantbench.run.inputs import Inputs
    from quantbench.run.predict import predict
    from quantbench.tasks.metrics.transcription import texts_alike

    monkeypatch.setattr(amazon_queen, "split", talkie.split)
    task = load(clips=32)
    network = networks.load(
        {
            "name": "whisper_tiny_en",
            "family": "huggingface",
            "head": "speech_seq2seq",
            "weights": "registry",
            "asset": "whisper_tiny_en",
            "seed": 0,
        }
    )
    inputs = Inputs(network, task.evaluation, keep=True)
    answers = inputs.answers(predict(network.module, inputs, 16, "cpu", "fp32"))
    errors = wer([sample.target for sample in task.evaluation], texts_alike(answers))
    # 84.9 where it was measured; another processor may hear a word or two differently.
    assert 100 - 100 * errors == pytest.approx(84.9, abs=1.5)
