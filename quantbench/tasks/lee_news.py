"""How alike are two news texts? All 1,225 pairs of 50 texts, judged by people (Lee, Pincombe and Welsh 2005).

"An empirical evaluation of models of text document similarity", CogSci 2005. 300 other texts of the same kind
calibrate. The pairs share 50 texts, so they are not independent of each other: intervals that draw pairs again are
narrower than those over new texts would be.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.assets import fetch
from quantbench.tasks.metrics.correlation import PEARSON, SPEARMAN
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
