"""How alike are two news texts? All 1,225 pairs of 50 texts, judged by people (Lee, Pincombe and Welsh 2005).

"An empirical evaluation of models of text document similarity", CogSci 2005. 300 other texts of the same kind
calibrate. The pairs share 50 texts, so they are not independent of each other: intervals that draw pairs again are
narrower than those over new texts would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from quantbench.assets import fetch
from quantbench.errors import UserError
from quantbench.tasks.metrics.metric import BadTarget, Metric
from quantbench.tasks.sampling import damaged, draw, reading
from quantbench.tasks.task import Sample, Task

TEXTS, BACKGROUND = 50, 300


def load(*, calibration_samples: int = 128, seed: int = 0) -> Task:
    """The task: all pairs, judged by correlation with people, calibrated by other texts that `seed` draws.

    A sample reads as a pair of str (to calibrate: one str), its target is the similarity from 0 to 1; an answer is the
    network's similarity, a float. Raises UserError if the data cannot be had or are damaged.
    """
    folder = fetch("lee_news")
    texts = _lines(folder / "lee.cor", TEXTS)
    background = _lines(folder / "lee_background.cor", BACKGROUND)
    judged = _judged(folder / "similarities0-1.txt")
    chosen = draw(len(background), calibration_samples, seed, "texts in lee_background.cor")
    return Task(
        name="lee_news",
        metrics=(PEARSON, SPEARMAN),
        calibration=[Sample(f"background/{i:03d}", reading(background[i]), None) for i in chosen],
        evaluation=[
            Sample(f"{i:02d}-{j:02d}", reading((texts[i], texts[j])), float(judged[i, j]))
            for i, j in combinations(range(TEXTS), 2)
        ],
        predict=None,
    )


def with_targets(answers: Sequence[Any], targets: Sequence[Any]) -> NDArray[np.float64]:
    """Answers beside targets, float64 [n, 2]; NaN where the target is None.

    Raises BadTarget for a target that is no number, UserError for other answers.
    """
    for position, target in enumerate(targets):
        if target is not None and not (isinstance(target, int | float) and math.isfinite(target)):
            raise BadTarget(position, f"has the similarity {target!r}, which is no number")
    known = [np.nan if target is None else float(target) for target in targets]
    try:
        numbers = np.asarray(answers, np.float64).reshape(len(known))
    except ValueError as error:
        raise UserError("a correlation needs one number a sample: give a network with model.head=embedding") from error
    return np.column_stack([numbers, known])


def pearson(parts: NDArray[np.float64]) -> float:
    """Pearson's correlation of the two columns of [n, 2], in percent; 0 where one of them is constant."""
    if (np.ptp(parts, axis=0) == 0).any():  # the mean of equal values need not be exactly they
        return 0.0
    x, y = (parts - parts.mean(0)).T
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return 100.0 * float(x @ y) / norm if norm else 0.0


def spearman(parts: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of the two columns of [n, 2], in percent; equal values share their mean rank."""
    return pearson(rankdata(parts, axis=0))


PEARSON = Metric("pearson", with_targets, pearson, ("similarity", "human"))
SPEARMAN = Metric("spearman", with_targets, spearman, ("similarity", "human"))


def _lines(path: Path, count: int) -> list[str]:
    lines = path.read_text(encoding="latin-1").strip().split("\n")
    if len(lines) != count:
        raise damaged(path, f"{len(lines)} texts instead of {count}")
    return lines


def _judged(path: Path) -> NDArray[np.float64]:
    """How alike people found each text to each, float64 [TEXTS, TEXTS]; the upper triangle is filled in."""
    try:
        judged = np.loadtxt(path)
    except ValueError as error:
        raise damaged(path, error) from error
    if judged.shape != (TEXTS, TEXTS):
        raise damaged(path, f"shape {judged.shape} instead of {(TEXTS, TEXTS)}")
    return judged
