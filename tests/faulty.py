"""A small network and a task that go wrong as a test asks, reached through the real command line.

`python -m tests.faulty run ...` is the command line with both in it, for tests that need a process of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from quantbench.networks.network import Network
from quantbench.run import cache, reference
from quantbench.tasks.metrics.classification import ACCURACY, predicted_class
from quantbench.tasks.sampling import reading
from quantbench.tasks.task import Sample, Task

CLASSES, WIDTH = 5, 8
# 20 samples are evaluated and 12 calibrate, in batches of 4.
SMALL = ("model=faulty", "batch_size=4", "task.calibration_samples=12")
MODEL = (
    "defaults:\n  - override /task@_global_.task: faulty\nname: faulty\n_target_: tests.faulty.load\nweights: random\n"
)
TASK = "name: faulty\n_target_: tests.faulty.load_task\ncalibration_samples: 12\n"


def nothing(kind: str, batch: Tensor) -> None:
    """What happens before a batch that goes well."""


class Settings:
    """What a test changes: what happens before each batch, the targets, and the metrics."""

    before: Callable[[str, Tensor], None] = staticmethod(nothing)
    targets: Callable[[list[int]], list[Any]] = staticmethod(list)
    metrics = (ACCURACY,)
    predict = staticmethod(predicted_class)
    module: nn.Module | None = None  # the one that was loaded last


class Faulty(nn.Module):
    """Two linear layers; `Settings.before` sees every batch with the pass that it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        Settings.before(_pass_of(x), x)
        return self.second(torch.relu(self.first(x)))


def _pass_of(x: Tensor) -> str:
    """Calibration samples end with -1, those that are evaluated with 1, the example with 0."""
    if x[0, -1] == 0:
        return "example"
    if x[0, -1] < 0:
        return "calibration"
    return "quantized" if _get_current_function_mode_stack() else "fp32"


def load(*, name: str, weights: str = "random", seed: int = 0) -> Network:
    """The network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Settings.module = Faulty().eval()
    return Network(name, Settings.module, preprocess, (torch.zeros(1, WIDTH),), f"faulty:{seed}", "none")


def preprocess(raw: Any) -> list[tuple[Tensor, ...]]:
    return [(torch.from_numpy(raw.copy()),)]


def load_task(*, calibration_samples: int, seed: int = 0) -> Task:
    raws = np.random.default_rng(seed).standard_normal((20 + calibration_samples, WIDTH)).astype(np.float32)
    raws[:20, -1], raws[20:, -1] = 1, -1
    targets = Settings.targets([i % CLASSES for i in range(20)])
    return Task(
        name="faulty",
        metrics=Settings.metrics,
        calibration=[Sample(f"train/{i}", reading(raw), None) for i, raw in enumerate(raws[20:])],
        evaluation=[Sample(f"test/{i}", reading(raws[i]), target) for i, target in enumerate(targets)],
        predict=Settings.predict,
    )


def install(folder: Path, patch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Make model=faulty known, with its own cache below `folder`; the first words of a command that finds it."""
    for group, content in (("model", MODEL), ("task", TASK)):
        (folder / "conf" / group).mkdir(parents=True, exist_ok=True)
        (folder / "conf" / group / "faulty.yaml").write_text(content, encoding="utf-8")
    patch.setattr(cache, "cache_folder", lambda: folder / "cache")
    for name in ("before", "targets", "metrics", "predict", "module"):
        patch.setattr(Settings, name, getattr(Settings, name))  # put back at the end
    reference.forget()
    return ("run", "--config-dir", str(folder / "conf"), *SMALL)


if __name__ == "__main__":
    from quantbench.cli import main as cli

    sys.modules["tests.faulty"] = sys.modules["__main__"]
    if "FAULT" in os.environ:
        exec(os.environ["FAULT"])  # the test's own code
    with pytest.MonkeyPatch.context() as context:
        command, *overrides = sys.argv[1:]
        first, *rest = install(Path.cwd(), context)
        sys.exit(cli.main([first, *rest, *overrides] if command == "run" else sys.argv[1:]))
