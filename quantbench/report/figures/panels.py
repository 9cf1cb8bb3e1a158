"""Panels of one figure, one a network, that share their axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import NullLocator

from quantbench.report.figures.figure import MINUS

COLUMNS = 3
TITLE_CHARACTERS = 26  # that fit above one of three panels


def lines_of(count: int) -> int:
    """How many lines that many panels take."""
    return math.ceil(count / min(COLUMNS, count))


def panels(
    drawing: Drawing, titles: Sequence[str], places: Mapping[str, float], unit: str, pad: float | None = None
) -> list[Axes]:
    """One panel a title, up to three beside each other.

    Args:
        drawing: an empty one.
        titles: what stands above each panel, at least one; broken into lines where it is long.
        places: where the names on the horizontal axis stand; they are written below the lowest panel of each column.
        unit: of the changes on the vertical axis.
        pad: between title and panel, in points; None for the usual one.
    """
    columns = min(COLUMNS, len(titles))
    grid = drawing.subplots(lines_of(len(titles)), columns, sharex=True, sharey=True, squeeze=False)
    for axes, title in zip(grid.flat, titles, strict=False):
        axes.set_title(broken(title, TITLE_CHARACTERS * COLUMNS // columns), fontsize=9.5, parse_math=False, pad=pad)
        axes.set_xticks(list(places.values()), list(places))
        axes.set_xlim(min(places.values()) - 0.6, max(places.values()) + 0.6)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"change, {unit}")
    for axes in grid[-1]:
        axes.tick_params(axis="x", labelrotation=90)
    for axes in grid.flat[len(titles) :]:  # nothing but the names below the panel above
        axes.set_axis_off()
        look = {"transform": axes.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top", "fontsize": 9}
        for name, place in places.items():
            axes.text(place, 1.0, name, **look)
    return list(grid.flat[: len(titles)])


def scale_changes(axes: Axes, ends: Iterable[float]) -> None:
    """A scale for changes that holds these: linear where they are small, logarithmic where networks break."""
    known = [end for end in ends if math.isfinite(end)]
    low, high = 1.3 * min(-1.5, *known), 1.3 * max(0.5, *known)
    axes.set_yscale("symlog", linthresh=1.0, linscale=1.0)
    axes.set_ylim(low, high)
    ticks = {sign * tick for tick in (0, 1, 3, 10, 30, 100, 300, 1000) for sign in (-1, 1)}
    axes.set_yticks(sorted(tick for tick in ticks if low <= tick <= high))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", MINUS))
    axes.yaxis.set_minor_locator(NullLocator())


def broken(label: str, width: int) -> str:
    """A long label in lines of at most `width` characters, broken behind underscores, hyphens and spaces only."""
    lines = [""]
    for word in label.replace("_", "_\0").replace("-", "-\0").replace(" ", " \0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)
