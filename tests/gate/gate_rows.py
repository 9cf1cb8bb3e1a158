"""Rows and per-sample scores for the tests of the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from quantbench.gate.drop import Evidence
from quantbench.gate.effect import Effect
from quantbench.gate.pairs import Pair
from quantbench.gate.verdict import Amount, Rules
from quantbench.results.record import Row
from quantbench.results.stats import paired_change
from tests.shared import ROW

RULES = Rules(max_drop=Amount(1, relative=True), max_fp32_drift=Amount(0.2, relative=False))


def answers(samples: int, wrong: int, lost: int = 0, won: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of fp32, of which the first `wrong` are 0, and of a quantized run that lost and won so many."""
    fp32 = np.full(samples, 100.0)
    fp32[:wrong] = 0.0
    quantized = fp32.copy()
    quantized[:won] = 100.0
    quantized[wrong : wrong + lost] = 0.0
    return fp32, quantized


def measured(fp32: np.ndarray, quantized: np.ndarray, **more: Any) -> Row:
    """The row of such scores, as a run writes it."""
    change = paired_change(fp32, quantized)
    found = {
        "samples": len(fp32),
        "fp32": float(fp32.mean()),
        "quantized": float(quantized.mean()),
        "change": change.value,
        "change_low": change.low,
        "change_high": change.high,
        "p_value": 0.5,
    }
    return replace(ROW, **{**found, **more})


def frame(fp32: np.ndarray, quantized: np.ndarray, noise: float = 1.0) -> pd.DataFrame:
    """The per-sample scores as a run writes them."""
    ids = [f"{place:05d}" for place in range(len(fp32))]
    return pd.DataFrame(
        {
            "sample": ids,
            "target": 1,
            "fp32": fp32,
            "quantized": quantized,
            "fp32_prediction": 1,
            "quantized_prediction": 1,
            "signal": 10.0,
            "noise": noise,
        }
    )


def found(effect: Effect, source: str = "samples", **row: Any) -> tuple[Pair, Evidence]:
    """A pair with this evidence."""
    return Pair(ROW, replace(ROW, cell="bbbbbbbbbbbb", **row)), Evidence(effect, source)
