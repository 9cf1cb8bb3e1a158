from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.quant import QuantizationError
from quantbench.quant.mapping import (
    affine_mapping,
    dequantize,
    fake_quantize,
    fake_quantize_ste,
    quantize,
    scale_mapping,
)
from tests.quant.helpers import naive_scale_quantize

BITS = st.integers(2, 8)
FINITE = st.floats(-1e3, 1e3, width=32)


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float32)


@pytest.mark.parametrize(
    ("bits", "alpha", "x", "q", "real"),
    [
        (8, 127.0, [0.4, -3.6, 126.6, 127.0], [0, -4, 127, 127], [0, -4, 127, 127]),
        (8, 63.5, [1.3, -1.2, 63.5], [3, -2, 127], [1.5, -1.0, 63.5]),
        (4, 3.5, [1.3, -3.5, 0.2, 9.0], [3, -7, 0, 7], [1.5, -3.5, 0.0, 3.5]),
        (3, 3.0, [-1.4, 2.6, -3.0], [-1, 3, -3], [-1, 3, -3]),
        (2, 4.0, [2.1, 1.9, -4.0, -1.0], [1, 0, -1, 0], [4, 0, -4, 0]),
    ],
)
def test_scale_quantization_gives_the_hand_computed_integers(bits, alpha, x, q, real):
    mapping = scale_mapping(scalar(alpha), bits)
    integers = quantize(torch.tensor(x), mapping)
    assert integers.tolist() == q
    assert dequantize(integers, mapping).tolist() == real


@pytest.mark.parametrize(
    ("bits", "beta", "alpha", "scale", "zero_point", "x", "q"),
    [
        (8, 0.0, 255.0, 1.0, -128, [0.0, 1.0, 255.0, 300.0, -5.0], [-128, -127, 127, 127, -128]),
        (8, -128.0, 127.0, 1.0, 0, [-128.0, 0.0, 127.0], [-128, 0, 127]),
        (8, -1.0, 254.0, 1.0, -127, [-1.0, 0.0, 254.0], [-128, -127, 127]),
        (4, 0.0, 3.75, 4.0, -8, [0.0, 1.0, 3.75], [-8, -4, 7]),
        (2, -1.0, 2.0, 1.0, -1, [-1.0, 0.0, 1.0, 2.0], [-2, -1, 0, 1]),
    ],
)
def test_affine_quantization_gives_the_hand_computed_integers(bits, beta, alpha, scale, zero_point, x, q):
    mapping = affine_mapping(scalar(beta), scalar(alpha), bits)
    assert float(mapping.scale) == scale
    assert float(mapping.zero_point) == zero_point
    assert quantize(torch.tensor(x), mapping).tolist() == q


def test_scale_rounds_ties_to_even():
    x = torch.tensor([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5])
    assert quantize(x, scale_mapping(scalar(127.0), 8)).tolist() == [0, 2, 2, 4, 0, -2, -2]


def test_affine_rounds_ties_of_scale_times_x_plus_zero_point_to_even():
    even, odd = affine_mapping(scalar(0.0), scalar(255.0), 8), affine_mapping(scalar(-1.0), scalar(254.0), 8)
    x = torch.tensor([0.5, 1.5, 2.5])
    assert quantize(x, even).tolist() == [-128, -126, -126]
    assert quantize(x, odd).tolist() == [-126, -126, -124]  # round(x - 127)


@settings(deadline=None, max_examples=60)
@given(BITS, st.floats(-100, 100, width=32), st.floats(-100, 100, width=32))
def test_zero_is_exactly_representable_by_every_affine_mapping(bits, first, second):
    mapping = affine_mapping(scalar(min(first, second)), scalar(max(first, second)), bits)
    assert mapping.low <= float(mapping.zero_point) <= mapping.high
    assert float(fake_quantize(scalar(0.0), mapping)) == 0.0


@settings(deadline=None, max_examples=60)
@given(BITS, st.floats(2**-9, 1e3, width=32), st.lists(st.floats(-1, 1, width=32), min_size=1))
def test_scale_error_is_at_most_half_a_step_inside_the_range(bits, alpha, fractions):
    x = torch.tensor(fractions) * alpha
    error = (fake_quantize(x, scale_mapping(scalar(alpha), bits)) - x).abs().max()
    assert float(error) <= 0.5 * alpha / (2 ** (bits - 1) - 1) * (1 + 1e-4)


@settings(deadline=None, max_examples=60)
@given(BITS, st.floats(-100, 0, width=32), st.floats(0.125, 100, width=32), st.lists(st.floats(0, 1), min_size=1))
def test_affine_error_is_at_most_half_a_step_inside_the_range(bits, beta, alpha, fractions):
    x = beta + torch.tensor(fractions, dtype=torch.float32) * (alpha - beta)
    error = (fake_quantize(x, affine_mapping(scalar(beta), scalar(alpha), bits)) - x).abs().max()
    assert float(error) <= 0.5 * (alpha - beta) / (2**bits - 1) * (1 + 1e-3)


@settings(deadline=None, max_examples=60)
@given(BITS, st.floats(2**-6, 100, width=32), st.lists(FINITE, min_size=1))
def test_fake_quantize_equals_the_formula(bits, alpha, values):
    x = np.array(values, np.float32)
    ours = fake_quantize(torch.from_numpy(x), scale_mapping(scalar(alpha), bits)).numpy()
    np.testing.assert_array_equal(ours, naive_scale_quantize(x, alpha, bits))


@pytest.mark.parametrize("bits", range(2, 9))
def test_values_beyond_the_range_are_clipped_to_its_ends(bits):
    x = torch.tensor([-1e30, -2.1, 2.1, 1e30])
    assert fake_quantize(x, scale_mapping(scalar(2.0), bits)).tolist() == pytest.approx([-2, -2, 2, 2])
    assert fake_quantize(x, affine_mapping(scalar(0.0), scalar(2.0), bits)).tolist() == pytest.approx([0, 0, 2, 2])


@pytest.mark.parametrize("bits", range(2, 9))
def test_scale_never_uses_the_lowest_integer_and_affine_uses_every_one(bits):
    x = torch.linspace(-3, 3, 5001)
    half = 2 ** (bits - 1)
    scale_levels = quantize(x, scale_mapping(scalar(1.0), bits)).unique().tolist()
    affine_levels = quantize(x, affine_mapping(scalar(-1.0), scalar(1.0), bits)).unique().tolist()
    assert scale_levels == list(range(-half + 1, half))
    assert affine_levels == list(range(-half, half))


def test_ranges_up_to_2_to_the_minus_24_give_zeros():
    x = torch.tensor([-1.0, 2.0**-25, 3.0])
    tiny, above = 2.0**-24, 2.0**-24 * (1 + 2.0**-20)
    for empty in (scale_mapping(scalar(tiny), 8), affine_mapping(scalar(0.0), scalar(tiny), 8)):
        assert fake_quantize(x, empty).tolist() == [0, 0, 0]
    for full in (scale_mapping(scalar(above), 8), affine_mapping(scalar(0.0), scalar(above), 8)):
        assert float(fake_quantize(x, full)[2]) == pytest.approx(above)


def test_an_empty_range_turns_infinity_and_nan_into_zero():
    assert fake_quantize(torch.tensor([torch.inf, torch.nan]), scale_mapping(scalar(0.0), 8)).tolist() == [0, 0]


def test_each_channel_is_quantized_as_if_it_were_alone():
    x = torch.randn(4, 3, 5) * torch.tensor([1e-3, 1.0, 50.0]).view(3, 1)
    alpha = x.abs().amax((0, 2), keepdim=True)
    whole = fake_quantize(x, scale_mapping(alpha, 5))
    for c in range(3):
        assert torch.equal(whole[:, c], fake_quantize(x[:, c], scale_mapping(alpha[0, c, 0], 5)))


@pytest.mark.parametrize("kind", ["scale", "affine"])
def test_an_all_zero_channel_becomes_zeros_and_leaves_the_others_alone(kind):
    x = torch.randn(3, 7)
    x[1] = 0
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    mapping = scale_mapping(x.abs().amax(1, keepdim=True), 8) if kind == "scale" else affine_mapping(low, high, 8)
    result = fake_quantize(x, mapping)
    assert torch.equal(result[1], torch.zeros(7))
    assert (result - x).abs().max() < 0.03
    assert result.isfinite().all()


@settings(deadline=None, max_examples=60)
@given(BITS, st.booleans(), st.floats(2**-6, 100, width=32), st.lists(FINITE, min_size=1))
def test_quantizing_twice_changes_nothing(bits, symmetric, alpha, values):
    mapping = (
        scale_mapping(scalar(alpha), bits) if symmetric else affine_mapping(scalar(-alpha / 3), scalar(alpha), bits)
    )
    once = fake_quantize(torch.tensor(values, dtype=torch.float32), mapping)
    assert torch.equal(fake_quantize(once, mapping), once)


def test_inputs_are_not_modified():
    x, alpha = torch.randn(100), scalar(1.0)
    before = x.clone()
    mapping = scale_mapping(alpha, 8)
    fake_quantize(x, mapping)
    fake_quantize_ste(x, mapping)
    assert torch.equal(x, before)
    assert float(alpha) == 1.0


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_straight_through_gradient_is_1_inside_and_0_far_outside(bits):
    x = torch.tensor([-9.0, -1.0, -0.3, 0.0, 0.7, 1.0, 9.0], requires_grad=True)
    mapping = scale_mapping(scalar(1.0), bits)
    y = fake_quantize_ste(x, mapping)
    y.backward(torch.arange(1.0, 8.0))
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 0]
    assert torch.equal(y.detach(), fake_quantize(x.detach(), mapping))


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_straight_through_gradient_is_0_directly_outside_the_range(bits):
    step = 1 / (2 ** (bits - 1) - 1)
    x = torch.tensor([-1 - 0.4 * step, 1 + 0.4 * step], requires_grad=True)
    fake_quantize_ste(x, scale_mapping(scalar(1.0), bits)).sum().backward()
    assert x.grad.tolist() == [0, 0]


def test_straight_through_gradient_is_0_where_the_range_is_empty():
    x = torch.tensor([[1.0], [1.0]], requires_grad=True)
    fake_quantize_ste(x, scale_mapping(torch.tensor([[0.0], [2.0]]), 8)).sum().backward()
    assert x.grad.tolist() == [[0], [1]]


def test_straight_through_gradient_follows_an_affine_range():
    x = torch.tensor([-0.5, 0.0, 1.0, 3.0, 3.6], requires_grad=True)
    fake_quantize_ste(x, affine_mapping(scalar(0.0), scalar(3.0), 8)).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_fake_quantization_keeps_half_precision_whatever_the_granularity():
    x = torch.randn(4, 6).half()
    for alpha in (scalar(1.0), torch.ones(4, 1)):
        assert fake_quantize(x, scale_mapping(alpha, 8)).dtype == torch.float16


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 16])
def test_bits_out_of_2_to_8_are_refused(bits):
    with pytest.raises(QuantizationError, match=str(bits)):
        scale_mapping(scalar(1.0), bits)
    with pytest.raises(QuantizationError, match=str(bits)):
        affine_mapping(scalar(0.0), scalar(1.0), bits)


@pytest.mark.parametrize("alpha", [-1.0, torch.inf, torch.nan])
def test_a_scale_range_that_is_negative_or_not_finite_is_refused(alpha):
    with pytest.raises(QuantizationError):
        scale_mapping(torch.tensor([1.0, alpha]), 8)


@pytest.mark.parametrize(("beta", "alpha"), [(1.0, 0.0), (0.0, torch.inf), (torch.nan, 1.0), (-torch.inf, 0.0)])
def test_an_affine_range_that_is_reversed_or_not_finite_is_refused(beta, alpha):
    with pytest.raises(QuantizationError):
        affine_mapping(scalar(beta), scalar(alpha), 8)
