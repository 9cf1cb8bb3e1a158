"""The acted speech of an adventure game as a task: its test clips, or the first of them for networks that are slow."""

from __future__ import annotations

from quantbench.errors import UserError
from quantbench.tasks.amazon_queen.clips import Clip, split
from quantbench.tasks.metrics.transcription import LETTER_ACCURACY, WORD_ACCURACY, texts_alike
from quantbench.tasks.sampling import by_hash, draw
from quantbench.tasks.task import Sample, Task

METRICS = {metric.name: metric for metric in (WORD_ACCURACY, LETTER_ACCURACY)}
_ORDER = "amazon_queen 1"  # seed of the order of the test clips, which is made once and for all


def load(
    *,
    calibration_samples: int = 128,
    seed: int = 0,
    clips: int | None = None,
    least_words: int = 1,
    metric: str = "wacc",
) -> Task:
    """The task: the first `clips` of the test clips in an order that never changes, or all; training clips calibrate.

    Clips of fewer than `least_words` words are left out: a network that always hears 30 seconds takes as long for them.
    `metric`, wacc or cacc, comes first, the other one second.

    `seed` draws the calibration clips. A sample reads as mono sound at 16 kHz, float32 [samples], its target is the
    text; an answer is a text. Raises UserError if the data cannot be had or there are not as many clips.
    """
    if isinstance(least_words, bool) or not isinstance(least_words, int) or least_words < 1:
        raise UserError(f"task.least_words={least_words}: must be an integer of at least 1")
    if metric not in METRICS:
        raise UserError(f"task.metric={metric}: must be one of {', '.join(METRICS)}")
    training, test = (
        [clip for clip in split(part) if len(clip.text.split()) >= least_words] for part in ("train", "test")
    )
    count = len(test) if clips is None else clips
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= len(test):
        of = f"the test clips of at least {least_words} words" if least_words > 1 else "the test clips"
        raise UserError(f"task.clips={clips}: must be null or an integer from 1 to {len(test)}, {of}")
    chosen = draw(len(training), calibration_samples, seed, "training clips")
    return Task(
        name="amazon_queen",
        metrics=(METRICS[metric], *(other for name, other in METRICS.items() if name != metric)),
        calibration=[_sample(training[i]) for i in chosen],
        evaluation=[_sample(clip) for clip in by_hash(test, [clip.id for clip in test], _ORDER)[:count]],
        predict=texts_alike,
    )


def _sample(clip: Clip) -> Sample:
    return Sample(clip.id, clip.sound, clip.text)
