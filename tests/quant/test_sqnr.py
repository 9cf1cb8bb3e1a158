import math

import numpy as np
import pytest
import torch

from quantbench.quant.histogram import HistogramCounter, equal_bins
from quantbench.quant.mapping import affine_mapping, fake_quantize, scale_mapping
from quantbench.quant.sqnr import activation_sqnr_db, decibel, weight_sqnr_db


def test_decibel():
    assert decibel(100.0, 1.0) == 20.0
    assert decibel(1.0, 0.0) is None
    assert decibel(0.0, 1.0) is None


def test_a_weight_by_hand():
    # 2 bits: levels -1, 0, 1 times alpha = 1. 0.75 becomes 1, 0.25 becomes 0: noise 0.0625 + 0.0625.
    weight = torch.tensor([1.0, 0.75, 0.25])
    expected = 10 * math.log10((1 + 0.5625 + 0.0625) / 0.125)
    assert weight_sqnr_db(weight, scale_mapping(torch.tensor(1.0), 2)) == pytest.approx(expected)
    assert weight_sqnr_db(torch.tensor([1.0, 0.0]), scale_mapping(torch.tensor(1.0), 2)) is None


def test_a_histogram_by_hand():
    # 0 (7 values), centres 1.5 (3 values) and 2.5 (1 value), range 2 at 2 bits: 1.5 becomes 2, 2.5 is clipped to 2.
    histogram = equal_bins(np.array([7, 3, 1]), 1.0, 0.0, 2.5)
    expected = 10 * math.log10((3 * 2.25 + 6.25) / (3 * 0.25 + 0.25))
    assert activation_sqnr_db(histogram, scale_mapping(torch.tensor(2.0), 2)) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, -2.0, None])
@pytest.mark.parametrize("alpha", [1.0, 3.0, 5.0])
def test_a_histogram_says_what_the_values_say(alpha, shift):
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    if shift is not None:
        values = torch.relu(values + shift)  # half, or nearly all of them zero
    counter = HistogramCounter()
    counter.add(values)
    mapping = scale_mapping(torch.tensor(alpha), 8)
    noise = (fake_quantize(values, mapping) - values).double().square().sum()
    expected = 10 * math.log10(float(values.double().square().sum() / noise))
    assert activation_sqnr_db(counter.histogram(), mapping) == pytest.approx(expected, abs=0.1)


def test_affine_mapping_of_both_signs_cannot_be_told_from_absolute_values():
    mapping = affine_mapping(torch.tensor(-1.0), torch.tensor(2.0), 8)
    assert activation_sqnr_db(equal_bins(np.array([1, 1]), 1.0, -1.0, 2.0), mapping) is None
    assert activation_sqnr_db(equal_bins(np.array([1, 1]), 1.0, 0.0, 2.0), mapping) is not None
