"""Dropped, held, or too few samples to tell: the decision on every pair of rows, and on all of them together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from quantbench.errors import UserError
from quantbench.gate.drop import Evidence, evidence
from quantbench.gate.pairs import Alone, Matching, Pair
from quantbench.results.load import Results
from quantbench.results.recipe import shown
from quantbench.tasks.metrics.direction import lower_is_better

AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)")


class Outcome(Enum):
    """What the gate says of a row."""

    HELD = "held"
    DROPPED = "dropped"
    UNDECIDED = "may have dropped"


@dataclass(frozen=True)
class Amount:
    """Points of a metric, or percent of the baseline's fp32."""

    value: float
    relative: bool

    def points(self, fp32: float) -> float:
        """As points, where fp32 is so much."""
        return self.value * abs(fp32) / 100 if self.relative else self.value

    def __str__(self) -> str:
        return f"{self.value:g} %" if self.relative else f"{self.value:g} points"


def amount(text: str, option: str) -> Amount:
    """What `1%` or `0.5` says.

    Raises:
        UserError: it is neither.
    """
    found = AMOUNT.fullmatch(text.strip())
    if not found or not float(found[1]) <= 1e6:
        raise UserError(f"{option}={text}: must be points of the metric, such as 0.5, or percent of fp32, such as 1%")
    return Amount(float(found[1]), bool(found[2]))


@dataclass(frozen=True)
class Rules:
    """What is allowed. Confidence is one-sided, from 0.5 to 1."""

    max_drop: Amount
    max_fp32_drift: Amount
    confidence: float = 0.95
    undecided_passes: bool = False
    missing_passes: bool = False
    fp32_fails: bool = False
    lower_is_better: tuple[str, ...] = ()  # metrics, whatever they are known for
    higher_is_better: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A pair with its verdict. Numbers are points of its metric."""

    pair: Pair
    evidence: Evidence
    outcome: Outcome
    tolerance: float
    low: float  # one-sided bounds of the drop, each at the confidence asked for
    high: float
    p_value: float  # of "it dropped by no more than is allowed", before it is corrected for the number of rows
    detectable: float  # the smallest true drop that would have been called dropped with probability 0.8
    fp32_moved: bool  # by more than is allowed, up or down

    @property
    def drop(self) -> float:
        """How much more quantization costs than in the baseline."""
        return 0.0 if self.evidence.is_certain else self.evidence.effect.drop

    @property
    def fp32_drift(self) -> float:
        """fp32 now less fp32 before."""
        assert self.pair.new.fp32 is not None and self.pair.baseline.fp32 is not None
        return self.pair.new.fp32 - self.pair.baseline.fp32

    @property
    def improved(self) -> bool:
        """Whether quantization costs less than it did, beyond chance."""
        return self.high < 0


@dataclass(frozen=True)
class Report:
    """All verdicts, those that need a look first."""

    rules: Rules
    rows: tuple[Judged, ...]
    missing: tuple[Alone, ...]
    added: tuple[Alone, ...]
    problems: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """How many rows have this outcome."""
        return sum(row.outcome is outcome for row in self.rows)

    @property
    def moved(self) -> list[Judged]:
        """The rows whose fp32 moved by more than is allowed."""
        return [row for row in self.rows if row.fp32_moved]

    @property
    def exit_code(self) -> int:
        """1 dropped, 2 nothing to compare or rows missing, 3 undecided, 0 held: the first of these that is so."""
        if self.count(Outcome.DROPPED) or (self.rules.fp32_fails and self.moved):
            return 1
        if not self.rows or (self.missing and not self.rules.missing_passes):
            return 2
        return 3 if self.count(Outcome.UNDECIDED) and not self.rules.undecided_passes else 0


def check(matching: Matching, baseline: Results, new: Results, rules: Rules) -> Report:
    """Judge all pairs of rows.

    Raises:
        UserError: a file of per-sample scores is damaged, or nobody knows which way a metric is better.
    """
    ways = _directions({str(pair.new.metric) for pair in matching.pairs}, rules)
    found = [(pair, evidence(pair, baseline, new, ways[str(pair.new.metric)])) for pair in matching.pairs]
    problems = tuple(f"{side.path}: {problem}" for side in (baseline, new) for problem in side.problems)
    return Report(rules, tuple(judge(found, rules)), matching.missing, matching.added, problems)


def _directions(metrics: Iterable[str], rules: Rules) -> dict[str, bool]:
    """Whether each metric is better when lower."""
    known = {name: lower_is_better(name, rules.lower_is_better, rules.higher_is_better) for name in sorted(metrics)}
    if unknown := [name for name, lower in known.items() if lower is None]:
        raise UserError(
            f"metric {', '.join(map(shown, unknown))}: better when higher or when lower? Say --higher-is-better "
            f"{shown(unknown[0])} or --lower-is-better {shown(unknown[0])}"
        )
    return {name: bool(lower) for name, lower in known.items()}


def judge(found: Sequence[tuple[Pair, Evidence]], rules: Rules) -> list[Judged]:
    """The verdict on each pair, dropped ones first, then undecided ones.

    A row is held where a true drop of more than the tolerance is excluded at the confidence. It has dropped where a
    true drop of the tolerance or less is excluded, at a confidence that Holm's method (1979) corrects for the number of
    rows: however many there are, the probability to accuse a single one wrongly is at most 1 - confidence. Passing
    needs no correction: every row has to.
    """
    uncertain = sum(not item.is_certain for _, item in found)
    judged = [_judge(pair, item, rules, max(uncertain, 1)) for pair, item in found]
    limits = _holm([row.p_value for row in judged if not row.evidence.is_certain], 1 - rules.confidence)
    judged = [
        replace(row, outcome=Outcome.DROPPED) if not row.evidence.is_certain and row.p_value <= limits else row
        for row in judged
    ]
    order = (Outcome.DROPPED, Outcome.UNDECIDED, Outcome.HELD)
    return sorted(judged, key=lambda row: order.index(row.outcome))


def _judge(pair: Pair, item: Evidence, rules: Rules, rows: int) -> Judged:
    """Held or undecided; whether it dropped is decided with all the others."""
    assert pair.baseline.fp32 is not None and pair.new.fp32 is not None
    tolerance = rules.max_drop.points(pair.baseline.fp32)
    effect, certain = item.effect, item.is_certain
    held = certain or effect.excludes(tolerance, rules.confidence)
    low, high = (0.0, 0.0) if certain else effect.bounds(rules.confidence)
    drift = rules.max_fp32_drift.points(pair.baseline.fp32)
    return Judged(
        pair=pair,
        evidence=item,
        outcome=Outcome.HELD if held else Outcome.UNDECIDED,
        tolerance=tolerance,
        low=low,
        high=high,
        p_value=1.0 if certain else effect.p_above(tolerance),
        detectable=effect.detectable(tolerance, 1 - (1 - rules.confidence) / rows),
        fp32_moved=abs(pair.new.fp32 - pair.baseline.fp32) > drift + 1e-9,
    )


def _holm(p_values: Iterable[float], alpha: float) -> float:
    """The largest p value that Holm's method rejects; below 0 where it rejects none."""
    ordered = sorted(p_values)
    limit = -math.inf
    for place, p_value in enumerate(ordered):
        if p_value > alpha / (len(ordered) - place):
            break
        limit = p_value
    return limit
