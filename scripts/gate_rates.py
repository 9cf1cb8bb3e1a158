"""How often the gate alarms without a cause and how often it sees a drop, by simulation: results/gate/rates.csv.

fp32 answers a sample right with probability 0.93. Some samples are hard (HARD of them): there, each quantized run gives
the other answer than fp32 with probability one half. So two runs err on the same few samples, and as many answers
differ between two runs as between one and fp32, as was seen of real reruns (results/gate/reruns.csv); on the desk's
networks that churn is 0.4 to 2.5 %. In the new run a share of all samples, of those that were right, is wrong besides:
the true drop, in multiples of what is allowed (1 % of fp32).
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from quantbench.gate.drop import Evidence, by_intervals, by_scores
from quantbench.gate.effect import Effect
from quantbench.gate.pairs import Pair
from quantbench.gate.verdict import Amount, Judged, Outcome, Rules, judge
from quantbench.results.record import Row
from quantbench.results.stats import paired_change

FILE = Path(__file__).resolve().parent.parent / "results" / "gate" / "rates.csv"
COLUMNS = ("mode", "rows", "samples", "churn", "true_drop", "trials", "held", "undecided", "dropped")
FP32 = 0.93
HARD = {0.5: 0.01, 2.0: 0.04}  # churn in percent -> share of hard samples
RULES = Rules(max_drop=Amount(1, relative=True), max_fp32_drift=Amount(100, relative=False))
SIZES = (20, 200, 500, 2000, 10_000)
DROPS = (0, 1, 2, 3, 5)  # times the allowed drop
TRIALS, GATES, ROWS = 1000, 200, 90
EMPTY = Row(cell="simulated", suite="simulated", model="simulated", task="simulated", metric="top1")


def scores(generator: np.random.Generator, samples: int, hard: float, drop: float) -> list[np.ndarray]:
    """Points of fp32, the baseline's int8 and the new int8, float64 [samples] each."""
    right = generator.random(samples) < FP32
    is_hard = generator.random(samples) < hard
    before, now = (right ^ (is_hard & (generator.random(samples) < 0.5)) for _ in range(2))
    right_or_lost = right & (generator.random(samples) < drop / FP32)
    return [100.0 * answers for answers in (right, before, now & ~right_or_lost)]


def effect(mode: str, fp32: np.ndarray, before: np.ndarray, now: np.ndarray) -> tuple[Pair, Effect]:
    """What the gate takes of one row, from the scores or from what stands in the CSV."""
    rows = []
    for quantized in (before, now):
        row = replace(EMPTY, samples=len(fp32), fp32=float(fp32.mean()), quantized=float(quantized.mean()))
        if mode == "intervals":
            change = paired_change(fp32, quantized)
            row = replace(row, change_low=change.low, change_high=change.high, p_value=1.0)
        rows.append(row)
    pair = Pair(*rows)
    return pair, by_intervals(pair) if mode == "intervals" else by_scores(fp32, before, fp32, now)


def gate(generator: np.random.Generator, mode: str, rows: int, samples: int, churn: float, drop: float) -> list[Judged]:
    """The verdicts of one gate of so many rows."""
    found = []
    for _ in range(rows):
        pair, size = effect(mode, *scores(generator, samples, HARD[churn], drop * FP32 / 100))
        found.append((pair, Evidence(size, mode)))
    return judge(found, RULES)


def worst(verdicts: list[Judged]) -> Outcome:
    """The outcome of a whole gate."""
    outcomes = {row.outcome for row in verdicts}
    return next(o for o in (Outcome.DROPPED, Outcome.UNDECIDED, Outcome.HELD) if o in outcomes)


def line(mode: str, rows: int, samples: int, churn: float, drop: float, trials: int) -> list[object]:
    """One line of the file, with a generator of its own: other lines do not change it."""
    key = [["samples", "intervals"].index(mode), rows, samples, int(churn * 10), int(drop * 10)]
    generator = np.random.default_rng(key)
    counts = Counter(worst(gate(generator, mode, rows, samples, churn, drop)) for _ in range(trials))
    shares = [100 * counts[outcome] / trials for outcome in (Outcome.HELD, Outcome.UNDECIDED, Outcome.DROPPED)]
    return [mode, rows, samples, churn, drop, trials, *(f"{share:.2f}" for share in shares)]


def lines() -> list[list[object]]:
    """All lines: single rows over sizes and drops, then whole gates of 90 rows."""
    found = [
        line(mode, 1, samples, churn, drop, TRIALS)
        for mode in ("samples", "intervals")
        for churn in HARD
        for samples in SIZES
        for drop in DROPS
    ]
    return found + [line(mode, ROWS, 2000, 2.0, drop, GATES) for mode in ("samples", "intervals") for drop in (0, 1, 3)]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("takes no argument; writes results/gate/rates.csv, in some three minutes")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines())
