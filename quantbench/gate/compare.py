"""Two results side by side: the change of each, and how the changes differ, with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.gate.drop import evidence
from quantbench.gate.pairs import Alone, Matching, Pair, change
from quantbench.report.tables.table import MISSING, Item, Table
from quantbench.results.load import Results
from quantbench.results.recipe import named, recipe, shown

ONE_SIDED = 0.975  # of each bound of a two-sided 95 % interval
COLUMNS = (
    *("network", "recipe", "metric", "samples", "fp32 A", "fp32 B", "quantized A", "quantized B"),
    *("change A", "change B", "B - A", "by"),
)


@dataclass(frozen=True)
class Compared:
    """A pair, the baseline being A and the new one B, with the difference of its changes, B less A, in points."""

    pair: Pair
    difference: float
    low: float
    high: float
    source: str

    @property
    def differs(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return not self.low <= 0 <= self.high


def compare(matching: Matching, a: Results, b: Results) -> list[Compared]:
    """All pairs, in the order of A.

    Raises:
        UserError: a file of per-sample scores is damaged.
    """
    found = []
    for pair in matching.pairs:
        item = evidence(pair, a, b)
        low, high = (0.0, 0.0) if item.is_certain else item.effect.bounds(ONE_SIDED)
        found.append(Compared(pair, 0.0 if item.is_certain else -item.effect.drop, -high, -low, item.source))
    return found


def table(compared: Sequence[Compared], matching: Matching) -> Table:
    """A line a pair; what is in one of the two only is a note."""
    notes = [f"in A only: {_alone(alone)}" for alone in matching.missing]
    notes += [f"in B only: {_alone(alone)}" for alone in matching.added]
    return Table(
        name="compare",
        title="A and B side by side",
        caption="Points of the metric. Change: quantized - fp32. B - A: the difference of the changes with its 95 % "
        "interval, by the scores of the same samples or, where these are not at hand, by the intervals of the rows.",
        columns=COLUMNS,
        rows=tuple(_line(row) for row in compared),
        notes=tuple(notes),
    )


def sentences(row: Compared) -> tuple[str, str]:
    """A pair as two lines, for a terminal that is too narrow for the table."""
    cells = dict(zip(COLUMNS, (item.text for item in _line(row)), strict=True))
    figures = ", ".join(f"{name} {cells[name]}" for name in COLUMNS[4:11])
    return named(row.pair.new), f"  {cells['metric']}, {cells['samples']} samples: {figures}, by {cells['by']}"


def interval(row: Compared) -> str:
    """The difference and its interval."""
    if not math.isfinite(row.low):
        return f"{row.difference:+.2f} (unknown)"
    return f"{row.difference:+.2f} ({row.low:+.2f} to {row.high:+.2f})"


def _line(row: Compared) -> tuple[Item, ...]:
    a, b = row.pair.baseline, row.pair.new
    figures = (a.fp32, b.fp32, a.quantized, b.quantized)
    changes = [change(side) for side in (a, b)]
    samples = f"{b.samples:,}" if a.samples == b.samples else f"{a.samples:,} and {b.samples:,}"
    return (
        *map(Item, (shown(b.model), recipe(b), f"{shown(b.metric)} on {shown(b.task)}", samples)),
        *(Item(MISSING if value is None else f"{value:.2f}", value) for value in figures),
        *(Item(f"{value:+.2f}", value) for value in changes),
        Item(interval(row), row.difference),
        Item(row.source),
    )


def _alone(alone: Alone) -> str:
    return f"{named(alone.row)} ({shown(alone.row.metric or alone.row.status)}): {alone.why}"
