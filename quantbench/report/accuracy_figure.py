"""Accuracy against calibration, one panel a network: table 5 as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import NullLocator

from quantbench.record import Row
from quantbench.report import items, slots
from quantbench.report.figure import BLUE, GREY, MINUS, VERMILION, Figure, blank, styled
from quantbench.report.selection import NetworkRows

SEARCHES = 2  # where they stand in the order of calibrations
COLUMNS = 3
TITLE_CHARACTERS = 26  # that fit above one of three panels


def table5_rows(network: NetworkRows) -> dict[str, Row]:
    """The rows that table 5 shows of a network, by the title of their column: max, entropy, 99.99, ..."""
    columns = slots.table5(network.rows)
    part = network.within([slot.matches for slot in columns])
    found = {slot.title: part.matching(slot.matches) for slot in columns} if part else {}
    return {title: rows[0] for title, rows in found.items() if rows}


def accuracy_figure(networks: Sequence[NetworkRows]) -> Figure | None:
    """Change of accuracy relative to fp32 against calibration; None where no network has a row of table 5."""
    panels = {}
    for network in networks:
        rows = {name: row for name, row in table5_rows(network).items() if row.fp32 and row.change is not None}
        if rows:
            panels[network.label] = rows
    if not panels:
        return None
    with styled():
        drawing = _draw_panels(panels)
    lost = [(label, name, row) for label, rows in panels.items() for name, row in rows.items() if _lost(row)]
    drops = ", ".join(f"{label} {name} {_percent(row, row.change):.1f} %" for label, name, row in lost)
    return Figure(
        "accuracy_by_calibration",
        "Accuracy against calibration",
        "Change of accuracy against fp32, in percent of fp32, with int8 weights (per channel) and int8 activations, by "
        "calibration of the activations; bars are paired 95 % intervals over the evaluated samples. One scale for all "
        "panels, linear from -1 % to 1 % and logarithmic beyond; orange crosses lie below -1 %, the dashed line.",
        f"Plots of the change of accuracy against calibration of {', '.join(panels)}. Below -1 %: {drops or 'none'}.",
        drawing,
    )


def _percent(row: Row, points: float | None) -> float:
    """A number in the metric's points as percent of fp32; not a number where there is none."""
    return 100 * points / row.fp32 if row.fp32 and points is not None else math.nan


def _interval(row: Row) -> tuple[float, float]:
    return _percent(row, row.change_low), _percent(row, row.change_high)


def _lost(row: Row) -> bool:
    return items.quantized(row).large_drop


def _draw_panels(panels: Mapping[str, Mapping[str, Row]]) -> Drawing:
    names = sorted({name for rows in panels.values() for name in rows}, key=_order)
    columns = min(COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    drawing = blank(1.2 + 1.8 * lines + (0.8 if lines == 1 else 0))
    grid = drawing.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (label, rows) in zip(grid.flat, panels.items(), strict=False):
        _draw_changes(axes, rows, names)
        axes.set_title(_broken(label, TITLE_CHARACTERS * COLUMNS // columns), fontsize=9.5, parse_math=False)
    for axes in grid[:, 0]:
        axes.set_ylabel("change, %")
    for axes in grid[-1]:
        axes.tick_params(axis="x", labelrotation=90)
    for axes in grid.flat[len(panels) :]:  # nothing but the names below the panel above
        axes.set_axis_off()
        for place, name in enumerate(names):
            axes.text(
                place,
                1.0,
                _shown(name),
                transform=axes.get_xaxis_transform(),
                rotation=90,
                ha="center",
                va="top",
                fontsize=9,
            )
    _scale_changes(grid[0, 0], [row for rows in panels.values() for row in rows.values()])
    return drawing


def _draw_changes(axes: Axes, rows: Mapping[str, Row], names: Sequence[str]) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.axhline(100 * items.LARGE_DROP, color=VERMILION, linestyle="--", linewidth=1.0, zorder=0, label="large drop")
    # From max to the lowest percentile the range shrinks, which a line may join; the others are searches.
    nested = [(place, rows[name]) for place, name in enumerate(names) if name in rows and _order(name)[0] < SEARCHES]
    places, values = [place for place, _ in nested], [_percent(row, row.change) for _, row in nested]
    axes.plot(places, values, color=BLUE, linewidth=0.8, label="nested")
    for label, color, marker in (("kept", BLUE, "o"), ("lost", VERMILION, "X")):
        shown = {name: row for name, row in rows.items() if (label == "lost") == _lost(row)}
        places, values = [names.index(name) for name in shown], [_percent(row, row.change) for row in shown.values()]
        lows, highs = zip(*(_interval(row) for row in shown.values()), strict=True) if shown else ((), ())
        axes.vlines(places, lows, highs, color=color, linewidth=1.5, label=label)
        axes.plot(places, values, color=color, marker=marker, linestyle="", markersize=5.5, label=label)
    axes.set_xticks(range(len(names)), [_shown(name) for name in names])
    axes.set_xlim(-0.6, len(names) - 0.4)


def _order(calibration: str) -> tuple[int, float, str]:
    """From the widest range to the narrowest, then the searches by name."""
    if calibration == "max":
        return 0, 0.0, ""
    return (1, -float(calibration), "") if calibration[0].isdigit() else (SEARCHES, 0.0, calibration)


def _shown(calibration: str) -> str:
    return f"{calibration} %" if calibration[0].isdigit() else calibration


def _scale_changes(axes: Axes, rows: Sequence[Row]) -> None:
    """One scale for all panels: linear where differences are small, logarithmic where networks break."""
    ends = [end for row in rows for end in (_percent(row, row.change), *_interval(row))]
    known = [end for end in ends if math.isfinite(end)]
    low, high = 1.3 * min(-1.5, *known), 1.3 * max(0.5, *known)
    axes.set_yscale("symlog", linthresh=1.0, linscale=1.0)
    axes.set_ylim(low, high)
    ticks = {sign * tick for tick in (0, 1, 3, 10, 30, 100, 300, 1000) for sign in (-1, 1)}
    axes.set_yticks(sorted(tick for tick in ticks if low <= tick <= high))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", MINUS))
    axes.yaxis.set_minor_locator(NullLocator())


def _broken(label: str, width: int) -> str:
    """A long label in lines of at most `width` characters, broken behind underscores, hyphens and spaces only."""
    lines = [""]
    for word in label.replace("_", "_\0").replace("-", "-\0").replace(" ", " \0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)
