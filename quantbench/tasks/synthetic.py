"""Inputs that mean nothing: for placement, memory and speed of a network before its weights and data are at hand."""

from __future__ import annotations

from typing import Any

import torch

from quantbench.errors import UserError
from quantbench.tasks.sampling import reading
from quantbench.tasks.task import Noise, Sample, Task


def load(*, samples: int = 8, calibration_samples: int = 8, seed: int = 0) -> Task:
    """The task: `samples` random inputs, calibrated by others that `seed` draws.

    It has no metric, because no answer is right. Raises UserError if a number is not positive.
    """
    for key, count in (("samples", samples), ("calibration_samples", calibration_samples)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise UserError(f"task.{key}={count}: must be an integer of at least 1")
    return Task(
        name="synthetic",
        metrics=(),
        calibration=[_sample("calibration", 1_000_003 * (seed + 1) + i) for i in range(calibration_samples)],
        evaluation=[_sample("evaluation", i) for i in range(samples)],
        predict=largest_output,
    )


def largest_output(outputs: Any) -> list[int]:
    """The position of the largest of each sample's outputs [n, ...]; of equal ones the first."""
    return [int(position) for position in torch.as_tensor(outputs).flatten(1).argmax(1)]


def _sample(split: str, seed: int) -> Sample:
    return Sample(f"{split}/{seed}", reading(Noise(seed)), None)
