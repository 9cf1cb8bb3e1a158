from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from quantbench.report.figures.figure import Figure
from quantbench.report.figures.sqnr import sqnr_figure
from quantbench.report.networks import networks
from tests.report.figure_checks import assert_readable, line, lines
from tests.report.table_rows import int8, results, row

Ratios = dict[str, float | None]
CALIBRATIONS = [("max", None), ("entropy", None), ("percentile", 99.99), ("percentile", 99.999), ("percentile", 99.9)]


def drawn(*ratios: Ratios, rows: list | None = None, model: str = "mine") -> Figure | None:
    """The figure of a network whose records, by calibration as above, hold these ratios."""
    named = [int8(75.0, calib, percentile, model=model) for calib, percentile in CALIBRATIONS[: len(ratios)]]
    made = results(*(rows or named))
    for found, sites in zip(made.rows, ratios, strict=True):
        made.details[found.cell]["site_sqnr_db"] = sites
    (network,) = networks(made)
    return sqnr_figure(network)


def conv(*names: str, db: float = 30.0) -> Ratios:
    return {f"{name}.{operand}": db for name in names for operand in ("input", "weight")}


def heights(axes: Axes, label: str) -> list[float]:
    return [float(value) for value in line(axes, label).get_ydata()]


def test_lines_hold_the_ratios_in_forward_order() -> None:
    sites = {
        "conv1.input": 50.0,
        "conv1.weight": 41.0,
        "layer1.conv.input": 35.0,
        "layer1.conv.weight": 42.0,
        "fc.input": 38.0,
    }
    figure = drawn(sites, {"conv1.input": 8.5, "layer1.conv.input": 30.0, "fc.input": 37.0})
    (axes,) = figure.drawing.axes
    assert heights(axes, "max") == [50.0, 35.0, 38.0]
    assert heights(axes, "entropy") == [8.5, 30.0, 37.0]
    assert heights(axes, "weights, per channel") == pytest.approx([41.0, 42.0, math.nan], nan_ok=True)
    assert list(line(axes, "max").get_xdata()) == [0, 1, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["conv1", "layer1.conv", "fc"]
    assert figure.name == "sqnr_mine"
    assert "The lowest is 8.5 dB at conv1.input with entropy." in figure.caption
    assert "max, entropy, weights, per channel" in figure.alt


def test_at_most_four_calibrations_each_told_apart_without_colour() -> None:
    figure = drawn(*[conv("a", "b", db=30.0 + i) for i in range(5)])
    (axes,) = figure.drawing.axes
    shown = {str(one.get_label()): (one.get_linestyle(), one.get_marker()) for one in axes.get_lines()}
    assert set(shown) == {"max", "entropy", "99.99 %", "99.999 %", "weights, per channel"}
    assert len({marker for _, marker in shown.values()}) == 5
    (legend,) = figure.drawing.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["max", "entropy", "99.99 %", "99.999 %", "weights, per channel"]
    assert next(iter(shown)) == "weights, per channel"  # below the others


def test_unknown_ratios_are_gaps_and_a_point_alone_is_marked() -> None:
    names = [f"layer{i}" for i in range(60)]
    sites = {f"{name}.input": None if i in (30, 32) else 30.0 for i, name in enumerate(names)}
    sites["layer5.input"] = math.inf
    (axes,) = drawn(sites).drawing.axes
    shown = heights(axes, "max")
    assert [i for i, db in enumerate(shown) if math.isnan(db)] == [5, 30, 32]
    assert 31 in line(axes, "max").get_markevery()
    assert len(line(axes, "max").get_markevery()) < 30


def test_both_operands_of_a_matrix_product_have_a_place() -> None:
    sites = {**conv("query"), "matmul_0.lhs": 20.0, "matmul_0.rhs": 21.0, **conv("out", db=40.0)}
    (axes,) = drawn(sites).drawing.axes
    assert heights(axes, "max") == [30.0, 20.0, 21.0, 40.0]
    assert heights(axes, "weights, per channel") == pytest.approx([30.0, math.nan, math.nan, 40.0], nan_ok=True)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["query", "matmul_0.lhs", "matmul_0.rhs", "out"]


def test_weights_alone_are_shown_where_activations_stay_in_float() -> None:
    figure = drawn({"a.weight": 40.0, "b.weight": 44.0}, rows=[row(75.0, model="mine")])
    (axes,) = figure.drawing.axes
    assert heights(axes, "weights, per channel") == [40.0, 44.0]
    assert len(axes.get_lines()) == 1
    assert "The lowest is 40.0 dB at a.weight." in figure.caption


def test_none_where_nothing_was_recorded() -> None:
    assert drawn({}) is None
    assert drawn({"a.input": None, "a.weight": None}) is None
    assert drawn(conv("a"), rows=[int8(75.0, model="mine", weight_bits=4)]) is None
    (network,) = networks(results(int8(75.0), weights=None))
    assert sqnr_figure(network) is None


def deep(count: int, pattern: str, seed: int) -> Ratios:
    noise = np.random.default_rng(seed).normal(35, 3, 2 * count)
    names = [pattern.format(i // 7, i % 7) for i in range(count)]
    return {
        f"{name}.{end}": float(noise[2 * i + j])
        for i, name in enumerate(names)
        for j, end in enumerate(("input", "weight"))
    }


@pytest.mark.parametrize(
    ("count", "pattern"),
    [
        (1, "features.{}.conv.{}"),
        (50, "features.{}.conv.{}"),
        (131, "features.{}.conv.{}"),
        (71, "bert.encoder.layer.{}.attention.self.matmul_{}"),
        pytest.param(70, "fc{}_{}", marks=pytest.mark.slow),
        pytest.param(244, "bert.encoder.layer.{}.attention.self.matmul_{}", marks=pytest.mark.slow),
    ],
)
def test_depth_and_long_names_are_readable(count: int, pattern: str) -> None:
    figure = drawn(*[deep(count, pattern, seed) for seed in range(4)])
    assert_readable(figure)
    parts = figure.drawing.axes
    assert len(parts) == -(-count // 70)
    shown = [db for axes in parts for db in heights(axes, "max") if not math.isnan(db)]
    assert shown == [db for site, db in deep(count, pattern, 0).items() if site.endswith("input")]
    short = pattern.replace("bert.encoder.layer", "b.e.l").replace("attention", "a")
    for axes in parts:
        assert len(axes.get_xticks()) <= 30
        for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
            assert label.get_text() == short.format(*divmod(int(place), 7))


def test_names_are_cut_only_where_they_are_long() -> None:
    (axes,) = drawn(conv("features.17.conv.2", "encoder.layers.encoder_layer_11.mlp.0")).drawing.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "features.17.conv.2",
        "e.l.encoder_layer_11.mlp.0",
    ]


def test_the_network_is_the_file() -> None:
    made = results(int8(75.0, model="mine"))
    made.details["cell0"]["site_sqnr_db"] = conv("a")
    (network,) = networks(made)
    assert sqnr_figure(replace(network, label="mine (imagenet, 0a1b)")).name == "sqnr_mine_imagenet_0a1b"
    assert lines(sqnr_figure(network).drawing.axes[0], "max")
