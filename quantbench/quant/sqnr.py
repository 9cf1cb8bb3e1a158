"""How much of a site's signal its own quantization keeps, as a ratio in decibel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quantbench.quant.histogram import Histogram
from quantbench.quant.mapping import Mapping, fake_quantize


def decibel(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where there is no noise at all, or nothing but noise."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def weight_sqnr_db(weight: Tensor, mapping: Mapping) -> float | None:
    """Signal to quantization noise of a weight: sum of w^2 over sum of (w^ - w)^2, in dB."""
    return _sqnr_db(weight, mapping, torch.ones(()))


def activation_sqnr_db(histogram: Histogram, mapping: Mapping) -> float | None:
    """Signal to quantization noise of an activation, in dB, of the values that the histogram counted.

    Every value counts as the centre of its bin, those of the first bin as 0: after a ReLU most are exactly that. The
    histogram knows |x| only, so for an affine mapping of values of both signs there is no answer: None.
    """
    if not mapping.symmetric and histogram.low < 0:
        return None
    centres = torch.from_numpy((histogram.edges[:-1] + histogram.edges[1:]) / 2)
    if histogram.start == 0:
        centres[0] = 0.0
    return _sqnr_db(centres.float(), mapping, torch.from_numpy(histogram.counts).double())


def _sqnr_db(values: Tensor, mapping: Mapping, counts: Tensor) -> float | None:
    noise = (fake_quantize(values, mapping).double() - values.double()).square()
    return decibel(float((counts * values.double().square()).sum()), float((counts * noise).sum()))
