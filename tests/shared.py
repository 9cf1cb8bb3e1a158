"""What tests of several folders share: a measured row, and the one line of a refusal."""

from __future__ import annotations

import pandas as pd
import pytest
from torch import Tensor

from quantbench.cli import main as cli
from quantbench.results.record import Row
from quantbench.run.inputs import Inputs
from quantbench.run.scores import beside, judge
from quantbench.tasks.task import Task

ROW = Row(
    cell="aaaaaaaaaaaa",
    suite="desk",
    model="resnet20_fashion",
    task="fashion_mnist",
    metric="top1",
    samples=10_000,
    fp32=93.0,
    quantized=90.0,
    change=-3.0,
    change_low=-5.0,
    change_high=-1.0,
    relative_change=-3 / 93,
    agreement=95.0,
    sqnr_db=30.0,
    calib="max",
    granularity="per_channel",
    weight_bits=8,
    activation_bits=8,
    mapping="scale",
    fold_bn=False,
    method="ptq",
    backend="simulate",
    seed=0,
    calibration_samples=1024,
    seconds=1.0,
    started="2026-11-23T16:34:21+00:00",
)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command refuses."""
    assert cli.main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("quantbench: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def compare(task: Task, inputs: Inputs, fp32: Tensor, quantized: Tensor) -> pd.DataFrame:
    """One line a sample: both executions judged, as the runner does."""
    judged = [judge(task, inputs, outputs, name) for name, outputs in (("fp32", fp32), ("quantized", quantized))]
    return beside(inputs, judged[0], judged[1], fp32, quantized)
