from __future__ import annotations

import numpy as np
import pytest
import torch

from quantbench.quant import mapping as quantization
from quantbench.report.figures import paper
from quantbench.report.figures.figure import MINUS
from quantbench.report.figures.paper import (
    INTEGER_UNIT,
    A,
    B,
    figure1_mapping,
    figure4_fake_quantization,
    figure7_gelu_swish,
)
from tests.report.figure_checks import assert_readable, line, lines


@pytest.mark.parametrize("draw", [figure1_mapping, figure4_fake_quantization, figure7_gelu_swish])
def test_nothing_is_cut_off_or_covered(draw) -> None:
    assert_readable(draw())


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize(("beta", "alpha"), [(-1.0, 1.0), (-0.8, 2.4), (-10.0, 10.0), (-50.0, 50.0)])
def test_the_formulas_are_those_that_quantize_networks(beta, alpha, bits):
    x = torch.linspace(-60, 60, 20_001, requires_grad=True)
    reals, (low, high) = x.detach().numpy(), torch.tensor([beta, alpha])
    affine = paper.affine_mapping(beta, alpha, bits), quantization.affine_mapping(low, high, bits)
    scale = paper.scale_mapping(alpha, bits), quantization.scale_mapping(high, bits)
    for ours, theirs in (affine, scale):
        assert np.array_equal(ours.quantized(reals), quantization.quantize(x, theirs).detach())
        assert np.array_equal(ours.fake_quantized(reals), quantization.fake_quantize(x, theirs).detach())
    quantization.fake_quantize_ste(x, scale[1]).sum().backward()
    assert np.array_equal(scale[0].derivative(reals), x.grad)
    for name, function in (("GELU", torch.nn.functional.gelu), ("swish", torch.nn.functional.silu)):
        assert paper.FUNCTIONS[name](reals) == pytest.approx(function(x).detach().numpy(), abs=1e-6)


def test_figure1_maps_the_ends_and_zero_as_the_formulas_say() -> None:
    # Affine, [-0.8, 2.4]: s = 255 / 3.2 = 79.6875, z = -round(-0.8 s) - 128 = 64 - 128 = -64.
    affine, scale = figure1_mapping().drawing.axes
    ends = {label: line(affine, label).get_xdata() for label in (f"{B} = -0.8", "0", f"{A} = 2.4")}
    assert [round(q / INTEGER_UNIT) for _, q in ends.values()] == [-128, -64, 127]
    assert [x for x, _ in ends.values()] == [-0.8, 0.0, 2.4]
    assert "s = 79.69" in affine.get_title() and f"z = {MINUS}64" in affine.get_title()

    ends = {label: line(scale, label).get_xdata() for label in (f"-{A} = -2.4", "0", f"{A} = 2.4")}
    assert [round(q / INTEGER_UNIT) for _, q in ends.values()] == [-127, 0, 127]
    assert "s = 52.92" in scale.get_title()  # 127 / 2.4


def test_figure1_names_each_end_at_its_place() -> None:
    affine, scale = figure1_mapping().drawing.axes
    places = {text.get_text(): round(text.get_position()[0] / INTEGER_UNIT) for text in affine.texts}
    assert (places[f"{MINUS}128"], places[f"z = {MINUS}64"], places["127"]) == (-128, -64, 127)
    places = {text.get_text(): round(text.get_position()[0] / INTEGER_UNIT) for text in scale.texts}
    assert (places[f"{MINUS}127"], places["127"]) == (-127, 127)


def test_figure1_clips_what_lies_outside() -> None:
    affine, scale = figure1_mapping().drawing.axes
    clipped = [tuple(found.get_xdata()) for found in lines(affine, "clipped")]
    assert {round(q / INTEGER_UNIT) for x, q in clipped if x > 0} == {127}
    assert {round(q / INTEGER_UNIT) for x, q in clipped if x < 0} == {-128}
    assert sorted(x for x, _ in clipped if x > 0) == [2.6, 2.8, 3.0]
    inside = [tuple(found.get_xdata()) for found in lines(scale, "inside")]
    assert [round(q / INTEGER_UNIT) for x, q in inside if x == 1.2] == [64]  # 63.5, ties to even


def test_figure4_is_a_staircase_of_seven_steps() -> None:
    left, _ = figure4_fake_quantization().drawing.axes
    x, y = (np.asarray(data) for data in line(left, "fake-quantized x").get_data())
    assert np.unique(np.rint(y * 3)).tolist() == [-3, -2, -1, 0, 1, 2, 3]
    np.testing.assert_allclose(y * 3, np.rint(y * 3), atol=1e-6)
    rises = (x[1:] + x[:-1])[np.diff(y) > 0] / 2
    np.testing.assert_allclose(rises, np.array([-5, -3, -1, 1, 3, 5]) / 6, atol=1e-3)
    assert set(y[x > 1]) == {1.0} and set(y[x < -1]) == {-1.0}


def test_figure4_has_the_derivative_one_inside_the_range_and_zero_outside() -> None:
    _, right = figure4_fake_quantization().drawing.axes
    x, y = (np.asarray(data) for data in line(right, "derivative").get_data())
    assert set(y[np.abs(x) <= 0.9999]) == {1.0}
    assert set(y[np.abs(x) >= 1.002]) == {0.0}
    assert [label.get_text() for label in right.get_xticklabels()] == [f"{MINUS}{A}", "0", A]


def test_figure7_shows_how_many_steps_the_negative_lobe_keeps() -> None:
    figure = figure7_gelu_swish()
    steps = {}
    for axes in figure.drawing.axes[2:]:
        for alpha, label in ((50, "int8, range 50 (step 0.394)"), (10, "int8, range 10 (step 0.079)")):
            outputs = np.asarray(line(axes, label).get_ydata())
            steps[axes.get_title()[:5], alpha] = sorted({round(y * 127 / alpha) for y in outputs if y < 0})
    # GELU's minimum -0.170 and swish's -0.278 in steps of 50 / 127 and 10 / 127: -0.43, -0.71, -2.16, -3.54.
    assert steps == {("GELU,", 50): [], ("swish", 50): [-1], ("GELU,", 10): [-2, -1], ("swish", 10): [-4, -3, -2, -1]}
    assert "into 0 (GELU) and 1 (swish) negative levels" in figure.caption
    assert "into 2 and 4." in figure.caption


def test_figure7_zooms_into_the_lobe_of_the_same_functions() -> None:
    whole, _, lobe, _ = figure7_gelu_swish().drawing.axes
    assert np.array_equal(line(whole, "fp32").get_ydata(), line(lobe, "fp32").get_ydata())
    low = float(np.min(line(lobe, "fp32").get_ydata()))
    assert low == pytest.approx(-0.16997, abs=1e-4)
    assert lobe.get_ylim()[0] < low < 0 < lobe.get_ylim()[1] < 0.2
