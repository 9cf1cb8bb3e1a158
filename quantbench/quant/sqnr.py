"""How much of a site's signal its own quantization keeps, as a ratio in decibel."""

from __future__ import annotations

import math
from collections import abc as maps
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from quantbench.quant.histogram import Histogram
from quantbench.quant.layers import Layer
from quantbench.quant.mapping import Mapping, fake_quantize


def decibel(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where there is no noise at all, or nothing but noise."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def weight_sqnr_db(weight: Tensor, mapping: Mapping) -> float | None:
    """Signal to quantization noise of a weight: sum of w^2 over sum of (w^ - w)^2, in dB."""
    return _sqnr_db(weight, mapping, torch.ones(()))


def activation_sqnr_db(histogram: Histogram, mapping: Mapping) -> float | None:
    """Signal to quantization noise of an activation, in dB, of the values that the histogram counted.

    Every value counts as the centre of its bin, those of a bin that begins at 0 as 0: after a ReLU most are exactly
    that. The histogram knows |x| only, so for an affine mapping of values of both signs there is no answer: None.
    """
    if not mapping.symmetric and histogram.low < 0:
        return None
    centres = torch.from_numpy(np.where(histogram.edges[:-1] > 0, histogram.centres, 0.0))
    return _sqnr_db(centres.float(), mapping, torch.tensor(histogram.counts, dtype=torch.float64))


def _sqnr_db(values: Tensor, mapping: Mapping, counts: Tensor) -> float | None:
    noise = (fake_quantize(values, mapping).double() - values.double()).square()
    return decibel(float((counts * values.double().square()).sum()), float((counts * noise).sum()))


def site_sqnr_db(
    layers: Iterable[Layer], mappings: maps.Mapping[str, Mapping], histograms: maps.Mapping[str, Histogram]
) -> dict[str, float | None]:
    """Signal to noise of every quantized site by its own quantization, in dB, in the order of the layers.

    Each site is looked at alone, with the float network's values: noise from the layers before is not in it.
    """
    found = {}
    for site in (site for layer in layers for site in layer.sites if site.name in mappings):
        mapping = mappings[site.name]
        if site.weight is not None:
            found[site.name] = weight_sqnr_db(site.weight, mapping)
        else:
            found[site.name] = activation_sqnr_db(histograms[site.name], mapping)
    return found
