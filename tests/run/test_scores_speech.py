from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from quantbench.networks.network import Network
from quantbench.run.inputs import Inputs
from quantbench.run.scores import scores
from quantbench.tasks.metrics.transcription import LETTER_ACCURACY, WORD_ACCURACY, texts_alike
from quantbench.tasks.task import Sample, Task
from tests.shared import compare

WORDS = ("", "one", "two", "three")
TASK = Task("speech", (WORD_ACCURACY, LETTER_ACCURACY), (), (), texts_alike)


def inputs(numbers: bool) -> Inputs:
    network = Network(
        name="n",
        module=nn.Identity(),
        preprocess=lambda raw: [(torch.zeros(1),)],
        example=(torch.zeros(1, 1),),
        weights="random:0",
        preprocessing="",
        decode=lambda raw, outputs: " ".join(WORDS[int(token)] for token in outputs[0, :, 0]).strip(),
        numbers=numbers,
    )
    return Inputs(network, [Sample("a", lambda: "raw", "one two"), Sample("b", lambda: "raw", "three")])


def tokens(*rows: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[..., None]


@pytest.mark.parametrize("numbers", [True, False])
def test_outputs_that_are_no_numbers_have_no_signal_to_noise(numbers):
    table = compare(TASK, inputs(numbers), tokens((1, 2), (3, 0)), tokens((1, 3), (3, 0)))
    row = scores(table, TASK)
    assert (row["metric"], row["fp32"], row["agreement"], row["samples"]) == ("wacc", 100.0, 50.0, 2)
    assert row["quantized"] == pytest.approx(100 - 100 / 3) and row["secondary_metric"] == "cacc"
    if numbers:
        assert row["sqnr_db"] == pytest.approx(10 * np.log10(14)) and table.noise.tolist() == [1.0, 0.0]
    else:
        assert row["sqnr_db"] is None and table[["signal", "noise"]].isna().all(axis=None)
