from __future__ import annotations

import math

import pytest
from matplotlib.axes import Axes

from quantbench.report.figures import figures
from quantbench.report.figures.figure import Figure, save
from quantbench.report.figures.percentile import percentile_figure
from quantbench.report.networks import networks
from quantbench.results.record import Row
from tests.report.figure_checks import assert_readable, boxes, line
from tests.report.table_rows import int8, results, row
from tests.report.tables.test_structure import structure_run

NAMES = ("99.9", "99.99", "99.999", "99.9999", "max", "entropy")


def swept(model: str, *changes: float | None, half: float = 0.1, **others: object) -> list[Row]:
    """Rows whose changes are in the order of NAMES, as far as there are some; None leaves one out."""
    found = []
    for name, change in zip(NAMES, changes, strict=False):
        calib, percentile = ("percentile", float(name)) if name[0].isdigit() else (name, None)
        if change is not None:
            fp32 = float(str(others.get("fp32", 80.0)))
            values = {"fp32": fp32, "model": model, "half": half, **others}
            found.append(int8(fp32 + change, calib, percentile, **values))
    return found


def figure_of(*rows: Row) -> Figure | None:
    return percentile_figure(networks(results(*rows)))


def heights(axes: Axes, label: str) -> list[float | None]:
    return [None if math.isnan(y) else round(float(y), 6) for y in line(axes, label).get_ydata()]


def names_below(figure: Figure) -> dict[float, str]:
    axes = figure.drawing.axes[0]
    return {float(tick): text.get_text() for tick, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)}


def test_changes_are_in_points_from_the_most_clipping_to_none() -> None:
    figure = figure_of(*swept("mine", -40.0, -2.0, -0.5, 0.25, -1.0, -20.0))
    (axes,) = figure.drawing.axes
    assert heights(axes, "nested") == [-40.0, -2.0, -0.5, 0.25, -1.0]
    assert heights(axes, "search") == [-20.0]
    assert list(names_below(figure).values()) == [
        "99.9 %",
        "99.99 %",
        "99.999 %",
        "99.9999 %",
        "max (100 %)",
        "entropy",
    ]
    (place,) = line(axes, "search").get_xdata()
    assert names_below(figure)[float(place)] == "entropy"
    assert figure.alt.endswith("The lowest change of each: mine -40.00 points at 99.9 %.")


def test_bars_are_the_paired_interval() -> None:
    (axes,) = figure_of(*swept("mine", -40.0, None, None, None, -1.0, half=0.5)).drawing.axes
    (bars,) = (found for found in axes.collections if found.get_label() == "nested")
    ends = [segment[:, 1].round(6).tolist() for segment in bars.get_segments()]
    assert ends == [[-40.5, -39.5], [-1.5, -0.5]]


def test_a_missing_cell_is_a_gap_and_no_line_leads_across() -> None:
    (axes,) = figure_of(*swept("mine", -40.0, None, -0.5)).drawing.axes
    assert heights(axes, "nested") == [-40.0, None, -0.5, None, None]
    assert heights(axes, "search") == [None]


def test_the_papers_network_stands_behind_in_points_with_its_confidence() -> None:
    figure = figure_of(*swept("minilm_trec", -40.0, fp32=96.0), *swept("mine", -1.0))
    language, alone = figure.drawing.axes
    # BERT Large: fp32 91.01; 26.18, 89.59, 90.20, 90.10, max 85.92, entropy 37.40.
    assert heights(language, "paper") == [-64.83, -1.42, -0.81, -0.91, -5.09]
    assert heights(language, "paper's search") == [-53.61]
    assert line(language, "paper").get_linestyle() == "--"
    assert heights(alone, "paper") == [None] * 5 and heights(alone, "paper's search") == [None]
    assert figure.caption.endswith("the paper's network named above a panel, doubtful (BERT Large).")
    assert "paper" not in figure_of(*swept("mine", -1.0)).caption


def test_the_confidence_is_that_of_the_least_certain_figure() -> None:
    # MobileNet v1 has a corroborated 99.9 and recalled others.
    figure = figure_of(*swept("mobilenet_v1_fashion", -1.0), *swept("minilm_trec", -1.0))
    assert figure.caption.endswith(", recalled (MobileNet v1), doubtful (BERT Large).")


def test_a_panel_names_its_counterpart_and_its_metric_where_there_are_several() -> None:
    def words(*rows: Row) -> set[str]:
        return {text for text, _ in boxes(figure_of(*rows).drawing)}

    vision, language = swept("resnet20_fashion", -0.1), swept("minilm_similarity", -1.0, metric="pearson")
    assert "beside ResNet50 v1.5" in words(*vision)
    assert {"top1, beside ResNet50 v1.5", "pearson, beside BERT Large", "top1"} <= words(
        *vision, *language, *swept("mine", 0.0)
    )


def test_networks_of_one_family_are_neighbours() -> None:
    models = ("mine", "minilm_trec", "resnet20_fashion", "mpnet_similarity", "mobilenet_v1_fashion")
    drawing = figure_of(*(made for model in models for made in swept(model, -1.0))).drawing
    titles = [axes.get_title() for axes in drawing.axes if axes.get_title()]
    assert titles == ["resnet20_fashion", "mobilenet_v1_fashion", "minilm_trec", "mpnet_similarity", "mine"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, pytest.param(7, marks=pytest.mark.slow), 20])
def test_any_number_of_networks_is_readable(count: int) -> None:
    known = ["minilm_trec", "efficientnet_fashion", "efficientnet_lite0", "inception_fashion"]
    models = [*known, *(f"mobilenet_v{i}_of_my_company_pruned_at_half" for i in range(16))][:count]
    metrics = ["top1", "pearson", "f1"]
    rows = [
        made
        for i, model in enumerate(models)
        for made in swept(model, -60.0, -3.0, -0.1, 0.2, -5.0, -30.0, half=9.0, metric=metrics[i % 3])
    ]
    figure = figure_of(*rows)
    assert_readable(figure)
    panels = [axes for axes in figure.drawing.axes if axes.get_title()]
    assert len(panels) == count
    assert {axes.get_ylim() for axes in panels} == {panels[0].get_ylim()}
    low, high = panels[0].get_ylim()
    assert low < -69.0 and high > 9.2


@pytest.mark.parametrize("rows", [[], [row(75.0)], [int8(75.0, "mse")], [int8(75.0, fold_bn=True)], [structure_run()]])
def test_without_a_row_of_these_calibrations_there_is_no_figure(rows: list[Row]) -> None:
    assert figure_of(*rows) is None


def test_an_interval_without_an_end_is_no_bar() -> None:
    assert_readable(figure_of(*swept("mine", -1.0, half=math.inf), *swept("other", -1.0)))


def test_it_is_one_of_the_report_and_is_drawn_the_same_again(tmp_path) -> None:
    found = results(*swept("minilm_trec", -40.0, -1.0, half=0.5))
    for folder in ("one", "two"):
        (made,) = (figure for figure in figures(found) if figure.name == "accuracy_by_percentile")
        save(made, tmp_path / folder)
    one, two = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two] and len(one) == 2
