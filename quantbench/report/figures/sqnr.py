"""Signal to quantization noise of every site of a network, along its depth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from quantbench.report.figures.accuracy import table5_rows
from quantbench.report.figures.figure import BLACK, BLUE, GREEN, VERMILION, Figure, blank, stem, styled
from quantbench.report.networks import NetworkRows
from quantbench.report.tables.columns import table4_columns
from quantbench.results.record import Row

Ratios = Mapping[str, float | None]  # dB by site, in forward order; None where there is no finite ratio

LOOKS = {
    "max": ("max", BLACK, "-", "o"),
    "entropy": ("entropy", VERMILION, "--", "s"),
    "99.99": ("99.99 %", BLUE, "-.", "^"),
    "99.999": ("99.999 %", GREEN, ":", "v"),
    "weights": ("weights, per channel", "#A0A0A0", "-", "x"),
}
MOST_PLACES, MOST_NAMES, MOST_MARKERS = 70, 30, 25  # of one plot
MOST_CHARACTERS = 26  # of a name


def sqnr_figure(network: NetworkRows) -> Figure | None:
    """The ratio of every quantized site in forward order; None where no record of the network has one.

    One line a calibrator for the activations, as far as there are rows of table 5, and a lighter one for the weights
    (per channel, max). Sites without a finite ratio are gaps.
    """
    lines = _lines(network)
    places = _places(lines.values())
    if not places:
        return None
    with styled():
        drawing = _draw(lines, places)
    shown = ", ".join(LOOKS[name][0] for name in lines)
    return Figure(
        f"sqnr_{stem(network.label)}",
        f"Quantization noise along the depth of {network.label}",
        f"Signal to quantization noise, in dB, of every int8 site of {network.label} in the order of the forward pass: "
        "activations over the calibration samples, by calibration, and weights. Each site is quantized alone, so that "
        f"noise of earlier layers is not in it; higher is better. {_worst(lines)}",
        "Line plot of signal to quantization noise against depth, from the first to the last of "
        f"{len(set(places.values()))} places, a line each for {shown}. {_worst(lines)}",
        drawing,
    )


def _lines(network: NetworkRows) -> dict[str, Ratios]:
    """What each line shows: activations by calibration, and the weights, which calibration does not change."""
    by_calibration = table5_rows(network)
    recorded = {name: _ratios(network, by_calibration[name]) for name in LOOKS if name in by_calibration}
    weights_only = [_ratios(network, row) for column in table4_columns() for row in network.matching(column.matches)]
    lines = {name: _part(ratios, weights=False) for name, ratios in recorded.items()}
    of_weights = (_part(ratios, weights=True) for ratios in (*recorded.values(), *weights_only))
    lines["weights"] = next(filter(None, of_weights), {})
    return {name: ratios for name, ratios in lines.items() if any(_finite(db) for db in ratios.values())}


def _ratios(network: NetworkRows, row: Row) -> Ratios:
    recorded = network.details.get(row.cell, {}).get("site_sqnr_db")
    if not isinstance(recorded, Mapping):
        return {}
    return {str(site): db for site, db in recorded.items() if db is None or isinstance(db, int | float)}


def _part(ratios: Ratios, weights: bool) -> Ratios:
    return {site: db for site, db in ratios.items() if site.endswith(".weight") == weights}


def _finite(db: float | None) -> bool:
    return db is not None and math.isfinite(db)


def _places(lines: Iterable[Ratios]) -> dict[str, int]:
    """The place of every site: one a layer, and one for each operand where a layer has two activations."""
    places: dict[str, int] = {}
    of_layer: dict[str, int] = {}
    taken = 0
    for site in dict.fromkeys(site for ratios in lines for site in ratios):
        layer, _, operand = site.rpartition(".")
        shared = operand in ("input", "weight")
        if shared and layer in of_layer:
            places[site] = of_layer[layer]
            continue
        places[site] = taken
        if shared:
            of_layer[layer] = taken
        taken += 1
    return places


def _draw(lines: Mapping[str, Ratios], places: Mapping[str, int]) -> Drawing:
    """One plot, or for a deep network several below each other, each with the next part of it."""
    names = {place: _shortened(site) for site, place in places.items()}
    parts = math.ceil(len(names) / MOST_PLACES)
    length = math.ceil(len(names) / parts)
    every = math.ceil(length / MOST_NAMES)
    drawing = blank(0.6 + parts * (2.4 if parts == 1 else 2.0) + parts * 0.08 * max(map(len, names.values())))
    column = drawing.subplots(parts, 1, sharey=True, squeeze=False)[:, 0]
    for part, axes in enumerate(column):
        first = part * length
        for name in sorted(lines, key=lambda name: name != "weights"):  # the weights first, below the others
            _draw_line(axes, name, _heights(lines[name], places, first, length), first)
        named = range(first, min(first + length, len(names)), every)
        axes.set_xticks(named, [names[place] for place in named], rotation=90, fontsize=8.5, parse_math=False)
        axes.set_xlim(first - 0.02 * length - 0.3, first + 1.02 * length - 0.7)
        axes.set_ylabel("signal to noise, dB")
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    column[-1].set_xlabel(f"layer, in forward order{'' if every == 1 else f' (one in {every} named)'}")
    drawn = {str(line.get_label()): line for line in column[0].get_lines()}
    labels = [LOOKS[name][0] for name in lines]
    handles = [drawn[label] for label in labels]
    drawing.legend(handles, labels, loc="outside upper center", ncols=len(lines), columnspacing=1.2, handlelength=2.6)
    return drawing


def _shortened(site: str) -> str:
    """The layer of a site, with words from the left on cut to their first letter where the name is long."""
    words = site.removesuffix(".input").removesuffix(".weight").split(".")
    for i in range(len(words) - 1):
        if len(".".join(words)) > MOST_CHARACTERS and not words[i].isdigit():
            words[i] = words[i][:1]
    return ".".join(words)


def _heights(ratios: Ratios, places: Mapping[str, int], first: int, length: int) -> list[float]:
    """The ratio at each place of a part, not a number where there is a gap."""
    heights = [math.nan] * length
    for site, db in ratios.items():
        if db is not None and 0 <= places[site] - first < length:
            heights[places[site] - first] = db if math.isfinite(db) else math.nan
    return heights


def _draw_line(axes: Axes, name: str, heights: Sequence[float], first: int) -> None:
    label, color, dashes, marker = LOOKS[name]
    axes.plot(
        range(first, first + len(heights)),
        heights,
        label=label,
        color=color,
        linestyle=dashes,
        linewidth=1.2 if name == "weights" else 1.6,
        marker=marker,
        markersize=4.5,
        markevery=_marked(heights, list(LOOKS).index(name)),
    )


def _marked(heights: Sequence[float], line: int) -> list[int]:
    """Where a line gets a marker: at every n-th place, and at points between two gaps, which no line would show.

    Lines that run together are marked at different places, so that each is seen.
    """
    every = math.ceil(len(heights) / MOST_MARKERS)
    padded = [math.nan, *heights, math.nan]
    alone = {i for i in range(len(heights)) if math.isnan(padded[i]) and math.isnan(padded[i + 2])}
    return sorted(alone | set(range(line % every, len(heights), every)))


def _worst(lines: Mapping[str, Ratios]) -> str:
    """A sentence on the lowest ratio of all."""
    ratios = [(db, name, site) for name, found in lines.items() for site, db in found.items() if _finite(db)]
    db, name, site = min(ratios, key=lambda ratio: ratio[0] or 0.0)
    return f"The lowest is {db:.1f} dB at {site}{'' if name == 'weights' else f' with {LOOKS[name][0]}'}."
