from __future__ import annotations

import pytest
from matplotlib.axes import Axes

from quantbench.report.figures.accuracy import accuracy_figure
from quantbench.report.figures.figure import Figure
from quantbench.report.networks import networks
from tests.report.figure_checks import assert_readable, line, lines
from tests.report.table_rows import int8, results, row

PERCENTILES = (99.9, 99.99, 99.999, 99.9999)


def swept(model: str, *quantized: float, half: float = 0.1, **changes: object) -> list:
    """Rows of max, the four percentiles from the lowest on, entropy and mse, as far as there are figures."""
    calibrations = [("max", None), *(("percentile", p) for p in PERCENTILES), ("entropy", None), ("mse", None)]
    return [
        int8(value, calib, percentile, model=model, half=half, **changes)
        for value, (calib, percentile) in zip(quantized, calibrations, strict=False)
    ]


def figure_of(*rows: object) -> Figure | None:
    return accuracy_figure(networks(results(*rows)))


def points(axes: Axes) -> dict[str, float]:
    """The value of each calibration, by the name at its tick."""
    name = axes.xaxis.get_major_formatter()  # inner panels have the names of the outer ones, hidden
    found = {}
    for one in axes.get_lines():
        if one.get_label() in ("kept", "lost"):
            found |= {name(place, place): round(float(value), 6) for place, value in zip(*one.get_data(), strict=True)}
    return found


def test_points_are_relative_changes_in_percent_at_their_calibration() -> None:
    (axes,) = figure_of(*swept("mine", 76.0, 75.24, 75.62, 75.81, 75.962, 66.88, 76.076)).drawing.axes
    assert points(axes) == {
        "max": 0.0,
        "99.9 %": -1.0,
        "99.99 %": -0.5,
        "99.999 %": -0.25,
        "99.9999 %": -0.05,
        "entropy": -12.0,
        "mse": 0.1,
    }
    assert list(axes.get_xticks()) == [0, 1, 2, 3, 4, 5, 6]
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert shown == ["max", "99.9999 %", "99.999 %", "99.99 %", "99.9 %", "entropy", "mse"]


def test_a_line_joins_max_and_percentiles_and_no_search() -> None:
    (axes,) = figure_of(*swept("mine", 76.0, 75.24, 75.62, 75.81, 75.962, 66.88, 76.076)).drawing.axes
    assert line(axes, "nested").get_ydata() == pytest.approx([0.0, -0.05, -0.25, -0.5, -1.0])


def test_bars_are_the_paired_interval() -> None:
    (axes,) = figure_of(*swept("mine", 75.62, half=0.19)).drawing.axes
    (bars,) = (found for found in axes.collections if found.get_label() == "kept")
    assert bars.get_segments()[0].ravel().tolist() == pytest.approx([0, -0.75, 0, -0.25])


def test_a_drop_of_more_than_one_percent_has_another_marker_and_is_told() -> None:
    figure = figure_of(*swept("mine", 75.24, 75.2399))
    (axes,) = figure.drawing.axes
    kept, lost = line(axes, "kept"), line(axes, "lost")
    assert (kept.get_marker(), list(kept.get_xdata())) == ("o", [0])  # -1 % exactly
    assert (lost.get_marker(), list(lost.get_xdata())) == ("X", [1])
    assert set(line(axes, "large drop").get_ydata()) == {-1.0}
    assert figure.alt.endswith("Below -1 %: mine 99.9 -1.0 %.")
    assert figure_of(*swept("mine", 76.0)).alt.endswith("Below -1 %: none.")


def test_all_panels_share_a_scale_that_holds_every_interval() -> None:
    rows = swept("small", 76.0, 75.95) + swept("broken", 76.0, 7.6) + swept("few_samples", 76.0, half=38.0)
    figure = figure_of(*rows)
    assert {axes.get_ylim() for axes in figure.drawing.axes} == {figure.drawing.axes[0].get_ylim()}
    low, high = figure.drawing.axes[0].get_ylim()
    assert low < -90.1 and high > 50
    assert figure.drawing.axes[0].get_yscale() == "symlog"
    ticks = figure.drawing.axes[0].get_yticks().tolist()
    assert ticks == [-100, -30, -10, -3, -1, 0, 1, 3, 10, 30]
    assert_readable(figure)


def test_where_nothing_is_lost_the_scale_still_reaches_beyond_the_mark() -> None:
    (axes,) = figure_of(*swept("mine", 76.0, 75.99)).drawing.axes
    assert axes.get_ylim()[0] < -1.5 and axes.get_ylim()[1] > 0.5


@pytest.mark.parametrize("count", [1, 2, 3, 4, pytest.param(7, marks=pytest.mark.slow), 20])
def test_any_number_of_networks_is_readable(count: int) -> None:
    rows = [
        made
        for i in range(count)
        for made in swept(f"mobilenet_v{i}_fashion", 76.0, 75.9, 75.95, 76.0, 76.1, 60.0, 75.0)
    ]
    figure = figure_of(*rows)
    assert_readable(figure)
    panels = [axes for axes in figure.drawing.axes if axes.get_title()]
    assert {axes.get_title() for axes in panels} == {f"mobilenet_v{i}_fashion" for i in range(count)}
    assert all(len(points(axes)) == 7 for axes in panels)


def test_a_long_name_is_broken_and_not_cut() -> None:
    name = "my_company_resnet50_imagenet_pruned_at_half"
    figure = figure_of(*swept(name, 76.0), *swept("a", 76.0), *swept("b", 76.0))
    (title,) = (axes.get_title() for axes in figure.drawing.axes if "company" in axes.get_title())
    assert title.replace("\n", "") == name and max(map(len, title.split("\n"))) <= 26
    assert_readable(figure)


def test_missing_calibrations_are_gaps() -> None:
    figure = figure_of(*swept("whole", 76.0, 75.0, 75.5), *swept("part", 76.0))
    whole, part = figure.drawing.axes
    assert set(points(whole)) == {"max", "99.9 %", "99.99 %"} and set(points(part)) == {"max"}


def test_only_rows_of_table_5_count_and_the_lowest_seed_is_shown() -> None:
    others = [
        int8(10.0, fold_bn=True),
        int8(10.0, weight_bits=4),
        int8(10.0, granularity="per_tensor"),
        int8(10.0, mapping="affine"),
        int8(10.0, skip_layers="conv1"),
        row(10.0),
        int8(status="failed"),
    ]
    assert figure_of(*others) is None
    assert accuracy_figure([]) is None
    (axes,) = figure_of(*others, int8(70.0, seed=3), int8(75.62, seed=1)).drawing.axes
    assert points(axes) == {"max": -0.5}


def test_a_network_without_fp32_accuracy_has_no_panel() -> None:
    zero = [int8(0.0, fp32=1e-30, model="zero")]
    figure = figure_of(*swept("mine", 76.0), *[made.__class__(**{**made.__dict__, "fp32": 0.0}) for made in zero])
    assert [axes.get_title() for axes in figure.drawing.axes] == ["mine"]
    assert lines(figure.drawing.axes[0], "large drop")
