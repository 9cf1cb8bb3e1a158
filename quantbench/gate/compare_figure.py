"""How the changes of two results differ, one line a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from quantbench.gate.compare import Compared, interval
from quantbench.report.figures.figure import BLUE, GREY, MINUS, VERMILION, Figure, blank, styled
from quantbench.results.recipe import named, recipe, shown

MOST = 80  # rows that a page holds; those that differ most come first
LINEAR = 1.0  # points, up to which the axis is linear


def comparison_figure(compared: Sequence[Compared], name: str) -> Figure:
    """The difference of the changes with its 95 % interval, a line a row; orange crosses do not hold 0.

    Args:
        compared: at least one.
        name: the stem of the figure's files.
    """
    rows = sorted(compared, key=lambda row: -abs(row.difference))[:MOST]
    kept = [row for row in compared if row in rows][::-1]  # the first one on top
    with styled():
        drawing = blank(1.2 + 0.24 * len(kept))
        axes = drawing.subplots()
        _draw(axes, kept)
    differing = [f"{named(row.pair.new)} {interval(row)}" for row in kept if row.differs]
    left_out = f" The {MOST} largest of {len(compared)} differences." if len(compared) > MOST else ""
    return Figure(
        name,
        "Change of B less change of A",
        "Change (quantized - fp32) in B less that in A, in points, with 95 % intervals; linear up to 1 point and "
        f"logarithmic beyond. Orange crosses: the interval does not hold 0.{left_out}",
        f"A plot of {len(kept)} differences. Away from 0: {'; '.join(differing) or 'none'}.",
        drawing,
    )


def _draw(axes: Axes, rows: Sequence[Compared]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    for color, marker, differs in ((BLUE, "o", False), (VERMILION, "X", True)):
        found = [(place, row) for place, row in enumerate(rows) if row.differs is differs]
        finite = [(place, row) for place, row in found if math.isfinite(row.low) and math.isfinite(row.high)]
        axes.hlines(
            [place for place, _ in finite], [r.low for _, r in finite], [r.high for _, r in finite], color=color
        )
        axes.plot([r.difference for _, r in found], [p for p, _ in found], color=color, marker=marker, linestyle="")
    labels = [f"{shown(row.pair.new.model)}, {recipe(row.pair.new)}" for row in rows]
    axes.set_yticks(range(len(rows)), [_short(label) for label in labels], fontsize=7, parse_math=False)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=LINEAR)
    ends = [end for row in rows for end in (row.difference, row.low, row.high) if math.isfinite(end)]
    low, high = 1.2 * min(-0.5, *ends), 1.2 * max(0.5, *ends)
    axes.set_xlim(low, high)
    ticks = (sign * tick for tick in (0.0, 0.25, 0.5, 1, 3, 10, 30, 100) for sign in (-1, 1))
    axes.set_xticks(sorted({tick for tick in ticks if low <= tick <= high}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", MINUS))
    axes.set_xlabel("change of B less change of A, points")


def _short(label: str, width: int = 70) -> str:
    return label if len(label) <= width else f"{label[: width - 3]}..."
