"""What clipping does: change of accuracy against percentile, one panel a network, the paper's network behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from quantbench.report.figures.accuracy import table5_rows
from quantbench.report.figures.figure import BLUE, GREY, LIGHT_GREY, VERMILION, Figure, blank, styled
from quantbench.report.figures.panels import lines_of, panels, scale_changes
from quantbench.report.networks import NetworkRows
from quantbench.report.published import Published, published
from quantbench.report.tables.columns import PERCENTILES, table5_columns
from quantbench.report.tables.table import CONFIDENCES
from quantbench.results.record import Row

# From the most clipping to none; entropy is a search, so that nothing joins it to the others.
NESTED = (*(f"{percentile:.10g}" for percentile in sorted(PERCENTILES)), "max")
PLACES = {name: float(place) for place, name in enumerate(NESTED)} | {"entropy": len(NESTED) + 0.4}
SHOWN = {"max": "max (100 %)", "entropy": "entropy"}
DARK_GREY, DASHES = "#595959", (0, (4, 3))
BESIDE = 0.35  # so that the paper's diamond does not hide behind ours


@dataclass(frozen=True)
class _Panel:
    """A network's rows by calibration, and the published figures of its counterpart in the paper."""

    label: str
    metric: str
    rows: Mapping[str, Row]
    counterpart: str  # empty where there is none
    published: Mapping[str, float]  # change in points
    confidence: str  # of the least certain of these


def percentile_figure(networks: Sequence[NetworkRows]) -> Figure | None:
    """Change of the metric, in points, against the percentile; None where no network has such a row of table 5.

    Networks stand in the order of the paper's tables, so that those of one family are neighbours.
    """
    shown = [panel for network in networks if (panel := _panel(network))]
    if not shown:
        return None
    with styled():
        drawing = _draw(shown)
    behind = _confidences(shown)
    paper = f" Grey are the published changes of the paper's network named above a panel, {behind}."
    return Figure(
        "accuracy_by_percentile",
        "Accuracy against percentile",
        "Change of the metric against fp32, in its points, with int8 weights (per channel) and int8 activations, by "
        "the percentile of |x| that clips the activations, down to no clipping (max), and by entropy calibration; bars "
        "are paired 95 % intervals over the evaluated samples. One scale for all panels, linear from -1 to 1 point and "
        f"logarithmic beyond.{paper if behind else ''}",
        f"Plots of the change against the percentile. The lowest change of each: {_lowest(shown)}.",
        drawing,
    )


def _panel(network: NetworkRows) -> _Panel | None:
    rows = {name: row for name, row in table5_rows(network).items() if name in PLACES and row.change is not None}
    if not rows:
        return None
    counterpart = "" if network.counterpart is None else network.counterpart.network
    figures = _published(counterpart)
    fp32 = published("2").get((counterpart, "fp32"))
    changes = {}
    if fp32 is not None and fp32.number is not None:
        changes = {name: figure.number - fp32.number for name, figure in figures.items() if figure.number is not None}
    ranks = list(CONFIDENCES)
    used = [figures[name].confidence for name in changes]
    confidence = max(used, key=lambda word: ranks.index(word) if word in ranks else len(ranks), default="")
    metric = next(iter(rows.values())).metric or ""
    return _Panel(network.label, metric, rows, counterpart if changes else "", changes, confidence)


def _published(counterpart: str) -> dict[str, Published]:
    """The paper's figures of its table 5, by our name of the calibration."""
    found = {column.title: published("5").get((counterpart, column.published)) for column in table5_columns(())}
    return {name: figure for name, figure in found.items() if figure is not None and name in PLACES}


def _draw(shown: Sequence[_Panel]) -> Drawing:
    lines = lines_of(len(shown))
    drawing = blank(1.6 + 2.0 * lines + (0.7 if lines == 1 else 0))
    names = {SHOWN.get(name, f"{name} %"): place for name, place in PLACES.items()}
    below = [_below_title(panel, shown) for panel in shown]
    drawn = panels(drawing, [panel.label for panel in shown], names, "points", pad=16 if any(below) else None)
    for axes, panel, words in zip(drawn, shown, below, strict=True):
        axes.annotate(
            words,
            (0.5, 1),
            (0, 3),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=DARK_GREY,
            parse_math=False,
        )
        _draw_paper(axes, panel.published)
        _draw_ours(axes, panel.rows)
    ends = [end for panel in shown for row in panel.rows.values() for end in (row.change, *_interval(row))]
    ends += [change for panel in shown for change in panel.published.values()]
    scale_changes(drawn[0], [end for end in ends if end is not None])
    handles = _legend(any(panel.published for panel in shown), any("entropy" in panel.rows for panel in shown))
    drawing.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.6)
    return drawing


def _below_title(panel: _Panel, shown: Sequence[_Panel]) -> str:
    """What a panel shows besides its network: the metric where there are several, and the paper's network."""
    several = len({other.metric for other in shown}) > 1
    return ", ".join(filter(None, (panel.metric * several, f"beside {panel.counterpart}" * bool(panel.counterpart))))


def _draw_ours(axes: Axes, rows: Mapping[str, Row]) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.axvline((PLACES["max"] + PLACES["entropy"]) / 2, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for label, color, marker, names in (("nested", BLUE, "o", NESTED), ("search", VERMILION, "D", ("entropy",))):
        places = [PLACES[name] for name in names]
        changes = [_number(rows[name].change) if name in rows else math.nan for name in names]
        axes.plot(places, changes, color=color, marker=marker, markersize=5, linewidth=1.0, label=label)
        drawn = [(PLACES[name], *_interval(rows[name])) for name in names if name in rows]
        ends = zip(*drawn, strict=True) if drawn else ((), (), ())
        axes.vlines(*ends, color=color, linewidth=1.5, label=label)


def _draw_paper(axes: Axes, changes: Mapping[str, float]) -> None:
    values = [changes.get(name, math.nan) for name in NESTED]
    places = [PLACES[name] for name in NESTED]
    axes.plot(
        places, values, color=GREY, linewidth=1.0, linestyle=DASHES, marker=".", markersize=4, zorder=1, label="paper"
    )
    axes.plot(
        [PLACES["entropy"] + BESIDE],
        [changes.get("entropy", math.nan)],
        color=GREY,
        linestyle="",
        marker="D",
        markersize=4.5,
        markerfacecolor="white",
        zorder=1,
        label="paper's search",
    )


def _legend(paper: bool, entropy: bool) -> list[Line2D]:
    dashed = Line2D([], [], color=GREY, linewidth=1.0, linestyle=DASHES, marker=".", label="the paper's network")
    diamond = Line2D([], [], color=VERMILION, marker="D", markersize=5, linestyle="", label="entropy")
    ours = Line2D([], [], color=BLUE, marker="o", markersize=5, linewidth=1.0, label="percentile or max")
    return [ours, *([diamond] if entropy else []), *([dashed] if paper else [])]


def _interval(row: Row) -> tuple[float, float]:
    return _number(row.change_low), _number(row.change_high)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _confidences(shown: Iterable[_Panel]) -> str:
    """The paper's networks by the confidence in the least certain of their figures."""
    named: dict[str, dict[str, None]] = {}
    for panel in shown:
        if panel.counterpart:
            named.setdefault(panel.confidence, {})[panel.counterpart] = None
    return ", ".join(f"{word} ({', '.join(named[word])})" for word in CONFIDENCES if word in named)


def _lowest(shown: Iterable[_Panel]) -> str:
    found = []
    for panel in shown:
        name = min(panel.rows, key=lambda name: _number(panel.rows[name].change))
        at = SHOWN.get(name, f"{name} %")
        found.append(f"{panel.label} {_number(panel.rows[name].change):+.2f} points at {at}")
    return ", ".join(found)
