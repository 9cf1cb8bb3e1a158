"""The tasks: data, splits and metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantbench.errors import UserError
from quantbench.loading import load_from
from quantbench.tasks.metrics.metric import Metric
from quantbench.tasks.task import Sample, Task

__all__ = ["TASKS", "Metric", "Sample", "Task", "load"]

TASKS: dict[str, str] = {
    "amazon_queen": "quantbench.tasks.amazon_queen",
    "fashion_mnist": "quantbench.tasks.fashion_mnist",
    "imagenet": "quantbench.tasks.imagenet",
    "imagenet_photos": "quantbench.tasks.imagenet_photos",
    "lee_news": "quantbench.tasks.lee_news",
    "librispeech": "quantbench.tasks.librispeech",
    "movie_sentences": "quantbench.tasks.movie_sentences",
    "squad": "quantbench.tasks.squad",
    "synthetic": "quantbench.tasks.synthetic",
    "trec": "quantbench.tasks.trec",
}
"""The module of every task, imported when it is used: its `load(*, calibration_samples, seed, **options)` -> Task."""


def load(config: Mapping[str, Any]) -> Task:
    """The task `config["name"]`; the other keys are the arguments of its loader.

    Raises UserError if there is no such task, if it has no such option, or if its data cannot be had.
    """
    options = {str(key): value for key, value in config.items() if key != "labels"}
    name = options.pop("name", None)
    if name not in TASKS:
        raise UserError(f"no task {name!r}: there are {', '.join(TASKS)}")
    task: Task = load_from(TASKS[name], options, f"task {name}")
    return task


def identity(config):
    return {key: value for key, value in config.items() if key != "labels"}
