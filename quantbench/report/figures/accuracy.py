"""Accuracy against calibration, one panel a network: table 5 as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from quantbench.report.figures.figure import BLUE, GREY, VERMILION, Figure, blank, styled
from quantbench.report.figures.panels import lines_of, panels, scale_changes
from quantbench.report.networks import NetworkRows
from quantbench.report.tables import entries
from quantbench.report.tables.columns import table5_columns
from quantbench.results.record import Row

SEARCHES = 2  # where they stand in the order of calibrations


def table5_rows(network: NetworkRows) -> dict[str, Row]:
    """The rows that table 5 shows of a network, by the title of their column: max, entropy, 99.99, ..."""
    columns = table5_columns(network.rows)
    part = network.within([column.matches for column in columns])
    found = {column.title: part.matching(column.matches) for column in columns} if part else {}
    return {title: rows[0] for title, rows in found.items() if rows}


def accuracy_figure(networks: Sequence[NetworkRows]) -> Figure | None:
    """Change of accuracy relative to fp32 against calibration; None where no network has a row of table 5."""
    shown = {}
    for network in networks:
        rows = {name: row for name, row in table5_rows(network).items() if row.fp32 and row.change is not None}
        if rows:
            shown[network.label] = rows
    if not shown:
        return None
    with styled():
        drawing = _draw_panels(shown)
    lost = [(label, name, row) for label, rows in shown.items() for name, row in rows.items() if _lost(row)]
    drops = ", ".join(f"{label} {name} {_percent(row, row.change):.1f} %" for label, name, row in lost)
    return Figure(
        "accuracy_by_calibration",
        "Accuracy against calibration",
        "Change of accuracy against fp32, in percent of fp32, with int8 weights (per channel) and int8 activations, by "
        "calibration of the activations; bars are paired 95 % intervals over the evaluated samples. One scale for all "
        "panels, linear from -1 % to 1 % and logarithmic beyond; orange crosses lie below -1 %, the dashed line.",
        f"Plots of the change of accuracy against calibration of {', '.join(shown)}. Below -1 %: {drops or 'none'}.",
        drawing,
    )


def _percent(row: Row, points: float | None) -> float:
    """A number in the metric's points as percent of fp32; not a number where there is none."""
    return 100 * points / row.fp32 if row.fp32 and points is not None else math.nan


def _interval(row: Row) -> tuple[float, float]:
    return _percent(row, row.change_low), _percent(row, row.change_high)


def _lost(row: Row) -> bool:
    return entries.quantized(row).large_drop


def _draw_panels(networks: Mapping[str, Mapping[str, Row]]) -> Drawing:
    names = sorted({name for rows in networks.values() for name in rows}, key=_order)
    lines = lines_of(len(networks))
    drawing = blank(1.2 + 1.8 * lines + (0.8 if lines == 1 else 0))
    drawn = panels(drawing, list(networks), {_shown(name): place for place, name in enumerate(names)}, "%")
    for axes, rows in zip(drawn, networks.values(), strict=True):
        _draw_changes(axes, rows, names)
    shown = [row for rows in networks.values() for row in rows.values()]
    scale_changes(drawn[0], [end for row in shown for end in (_percent(row, row.change), *_interval(row))])
    return drawing


def _draw_changes(axes: Axes, rows: Mapping[str, Row], names: Sequence[str]) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.axhline(100 * entries.LARGE_DROP, color=VERMILION, linestyle="--", linewidth=1.0, zorder=0, label="large drop")
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


def _order(calibration: str) -> tuple[int, float, str]:
    """From the widest range to the narrowest, then the searches by name."""
    if calibration == "max":
        return 0, 0.0, ""
    return (1, -float(calibration), "") if calibration[0].isdigit() else (SEARCHES, 0.0, calibration)


def _shown(calibration: str) -> str:
    return f"{calibration} %" if calibration[0].isdigit() else calibration
