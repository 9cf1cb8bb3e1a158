"""The histogram of an activation site with the calibrated ranges on it (figure 2 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from quantbench.report.figures.figure import BLACK, BLUE, GREEN, VERMILION, Figure, blank, stem, styled
from quantbench.report.tables.columns import PERCENTILES

if TYPE_CHECKING:
    from quantbench.quant.histogram import Histogram

DRAWN_BINS = 256
NARROWEST = 0.008  # of the axes' width: what a bar needs to be seen beside a line on it
SLOT = 0.118  # of the axes' width: room for one label such as 99.9999 over 0.0001234
LOOKS = {"max": (BLACK, "-"), "entropy": (VERMILION, "--"), "mse": (GREEN, "-.")}
PERCENTILE_LOOK = (BLUE, (0, (1, 1)))


def calibrated_ranges(histogram: Histogram, bits: int = 8) -> dict[str, float]:
    """The range of each calibration of the paper's table 5, and of mse; percentiles go by their number (`99.99`)."""
    from quantbench.quant.calibrators import CALIBRATORS, percentile_range

    found = {name: CALIBRATORS[name](histogram, bits) for name in LOOKS}
    return found | {f"{share:g}": percentile_range(histogram, bits, share) for share in PERCENTILES}


def choose_site(histograms: Mapping[str, Histogram]) -> str:
    """The site whose largest |x| is the most times its 99.99 % range, where calibrations differ most; ties: the first.

    Raises:
        ValueError: there is no histogram.
    """
    return max(histograms, key=lambda site: _reach(histograms[site]))


def _reach(histogram: Histogram) -> float:
    from quantbench.quant.calibrators import percentile_range

    below = percentile_range(histogram, 8, 99.99)
    if below > 0:
        return histogram.largest / below
    return math.inf if histogram.largest > 0 else 0.0


def histogram_figure(
    histogram: Histogram, ranges: Mapping[str, float], site: str, network: str, bits: int = 8
) -> Figure:
    """The counts of |x| at a site, on a logarithmic axis, with a vertical line for each calibrated range.

    Args:
        histogram: of the site's activations over the calibration samples.
        ranges: each range by the name of its calibration, in units of x, as `calibrated_ranges` gives them.
        site: its name.
        network: its name.
        bits: that the ranges are for.
    """
    drawn = histogram.regrouped(DRAWN_BINS)
    with styled():
        drawing = blank(3.8)
        axes = drawing.subplots()
        end = histogram.largest or 1.0
        _draw_counts(axes, drawn, end)
        _draw_ranges(axes, ranges, end)
        axes.set_xlabel(f"|x| at {site}", parse_math=False)
    percentile = {name: "" if name in LOOKS else " %" for name in ranges}
    where = "All of them are 0."
    if histogram.largest:
        width = float(drawn.edges[1] - drawn.edges[0])
        where = f"The bins of the exact histogram were joined to {len(drawn.counts)} of width {width:.3g}."
    listed = ", ".join(f"{name}{percentile[name]} {value:.4g}" for name, value in sorted(ranges.items(), key=_by_range))
    return Figure(
        f"figure2_{stem(network)}",
        f"Activation values and calibrated ranges of {network} (figure 2)",
        f"How often each |x| occurred at {site} of {network} over the calibration samples ({histogram.total:,} values, "
        f"logarithmic), and where each calibration ends the int{bits} range: what lies right of a line is clipped. "
        f"{where}",
        f"Histogram of |x| at {site} of {network}, from 0 to {histogram.largest:.4g}, with vertical lines at the "
        f"calibrated ranges: {listed}.",
        drawing,
    )


def _by_range(named: tuple[str, float]) -> float:
    return named[1]


def _draw_counts(axes: Axes, histogram: Histogram, end: float) -> None:
    """Bars from half a count up, so that a bin with a single value shows and an empty one does not."""
    edges = histogram.edges.copy()
    if len(histogram.counts) == 1:  # zeros have next to no width, and a single bin may end far above the largest value
        edges[1] = min(max(edges[1], NARROWEST * end), end)
    axes.stairs(histogram.counts, edges, baseline=0.5, fill=True, color="#BDBDBD")
    axes.set_yscale("log")
    axes.set(xlim=(-0.01 * end, 1.02 * end), ylim=(0.5, 3 * max(1, int(histogram.counts.max()))))
    axes.set_ylabel("values in a bin")


def _draw_ranges(axes: Axes, ranges: Mapping[str, float], end: float) -> None:
    """A line for each range, and above the axes its label, moved sideways where labels would meet."""
    ordered = sorted(ranges.items(), key=_by_range)
    left, right = axes.get_xlim()
    places = spread([(value - left) / (right - left) for _, value in ordered], SLOT)
    for (name, value), place in zip(ordered, places, strict=True):
        color, dashes = LOOKS.get(name, PERCENTILE_LOOK)
        axes.axvline(value, color=color, linestyle=dashes, linewidth=1.5, label=name)
        axes.annotate(
            f"{name if name in LOOKS else name + ' %'}\n{value:.4g}",
            xy=(value, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(place, 1.12),
            textcoords="axes fraction",
            ha="center",
            va="bottom",
            color=color,
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8, "relpos": (0.5, 0.0), "shrinkB": 0},
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places from gap / 2 to 1 - gap / 2, at least `gap` apart and as near the wanted ones (ascending) as that allows.

    Places that are too close move apart as one group around the mean of what they want. Where all do not fit, they
    are spaced evenly.
    """
    gap = min(gap, 1 / max(1, len(wanted)))
    # A group is [sum of what its members want for its first place, number of members].
    groups: list[tuple[float, int]] = []
    for place in wanted:
        total, size = place, 1
        while groups and groups[-1][0] / groups[-1][1] + groups[-1][1] * gap > total / size:
            before, members = groups.pop()
            total, size = before + total - size * members * gap, members + size
        groups.append((total, size))
    places = [total / size + gap * i for total, size in groups for i in range(size)]
    return _pushed_inside(places, gap)


def _pushed_inside(places: list[float], gap: float) -> list[float]:
    for i in range(len(places)):
        places[i] = max(places[i], gap * (i + 0.5))
    for i in range(len(places)):
        places[-1 - i] = min(places[-1 - i], 1 - gap * (i + 0.5))
    return places
