"""The items of a table: figures with their intervals and marks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from quantbench.report.baseline import Baseline
from quantbench.report.published import Published
from quantbench.report.tables.table import MISSING, Item
from quantbench.results.record import Row
from quantbench.tasks.metrics import METRICS

LARGE_DROP = -0.01  # relative change: the paper's limit of what is acceptable

CONFIDENCE_LEGEND = (
    "Published figures are (v) verbatim from a copy of the paper, (c) corroborated by an independent source, "
    "(s) consistent with an independent figure, (r) recalled and not checked, (d) doubtful."
)


def text(words: str | None, paper: bool = False) -> Item:
    """An item that is no number."""
    return Item(words or MISSING, paper=paper)


def word(figure: Published | None) -> Item:
    """A published word, such as a metric, with its confidence."""
    if figure is None:
        return Item(MISSING, paper=True)
    return Item(figure.value, note=figure.confidence, confidence=figure.confidence, paper=True)


def number(value: float | None, digits: int = 2, sign: str = "") -> Item:
    """A number, or the mark of a missing one."""
    if value is None or math.isnan(value):
        return Item(MISSING)
    return Item(_formatted(value, digits, sign), value)


def fp32(row: Row, baseline: Baseline) -> Item:
    """The fp32 of a measured row, flagged where it misses the published one."""
    off = baseline.verdict == "off"
    return Item(f"{row.fp32:.2f}", row.fp32, flagged=off, note=baseline.sentence if off else "")


def quantized(row: Row) -> Item:
    """The quantized figure of a measured row ± half of the interval of its change."""
    half = half_width(row)
    relative = relative_change(row.quantized, row.fp32)
    return Item(
        f"{row.quantized:.2f}{_plus_minus(half)}",
        row.quantized,
        large_drop=is_large_drop(relative),
        note=_tooltip(row),
        half_width=half,
        relative_change=relative,
    )


def relative(item: Item, fp32_value: float | None) -> Item:
    """The relative change of a figure in percent, with its half width where there is one."""
    if item.relative_change is None or not fp32_value:
        return Item(MISSING, paper=item.paper)
    percent = 100 * item.relative_change
    half = None if item.half_width is None else 100 * item.half_width / abs(fp32_value)
    return Item(f"{_formatted(percent, 2, '+')}{_plus_minus(half)}", percent, half_width=half, paper=item.paper)


def paper(figure: Published | None, fp32_figure: Published | None = None) -> Item:
    """A published figure with its confidence, held against the published fp32 where that is given."""
    if figure is None or figure.number is None:
        return Item(MISSING if figure is None else figure.value, paper=True)
    change = relative_change(figure.number, fp32_figure.number if fp32_figure else None)
    return Item(
        f"{figure.number:.2f}",
        figure.number,
        large_drop=is_large_drop(change),
        note="; ".join(filter(None, (figure.confidence, figure.note))),
        relative_change=change,
        confidence=figure.confidence,
        paper=True,
    )


def half_width(row: Row) -> float | None:
    """Half of the paired 95 % interval of a row's change, in points."""
    if row.change_low is None or row.change_high is None:
        return None
    return (row.change_high - row.change_low) / 2


def relative_change(value: float | None, reference: float | None) -> float | None:
    """(value - reference) / reference, a fraction; None where that says nothing."""
    return None if value is None or not reference else (value - reference) / reference


def _formatted(value: float, digits: int, sign: str = "") -> str:
    """A number in digits; one that they make zero is +0, never -0."""
    return f"{round(value, digits) + 0.0:{sign},.{digits}f}".replace("inf", "∞")


def is_large_drop(relative_change: float | None) -> bool:
    """Whether a relative change, a fraction, is a drop of more than 1 %."""
    # Rounded, so that a drop of exactly 1 % is none because of its binary digits.
    return relative_change is not None and round(relative_change, 9) < LARGE_DROP


def _plus_minus(half: float | None) -> str:
    return "" if half is None else f" ±{_formatted(half, 2)}"


def _tooltip(row: Row) -> str:
    said = [
        f"change {number(row.change, sign='+').text}"
        f" ({number(row.change_low, sign='+').text} to {number(row.change_high, sign='+').text})",
        "" if row.agreement is None else f"agreement {row.agreement:.2f} %",
        "" if row.sqnr_db is None else f"SQNR {row.sqnr_db:.1f} dB",
    ]
    return ", ".join(filter(None, said))


def explained(metrics: Iterable[str | None]) -> str:
    """A sentence on what each of these metrics is, with a space behind it; empty where none is known."""
    said = [f"{name} is {METRICS[name].meaning}" for name in dict.fromkeys(metrics) if name in METRICS]
    return f"{'; '.join(said)}. " if said else ""
