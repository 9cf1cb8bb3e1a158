"""Post-training quantization: calibrate the float network, then map every site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantbench.quant.calibrators import Calibrator
from quantbench.quant.histogram import Histogram
from quantbench.quant.layers import Layer
from quantbench.quant.mapping import Mapping as SiteMapping
from quantbench.quant.observe import observe
from quantbench.quant.scheme import Range, Scheme, activation_ranges, build_mappings, quantized_layers, weight_ranges
from quantbench.quant.sqnr import activation_sqnr_db, weight_sqnr_db


@dataclass(frozen=True)
class Quantization:
    """What a method decided: the layers it quantizes, and the range and mapping of each of their sites."""

    layers: list[Layer]
    ranges: dict[str, Range]
    mappings: dict[str, SiteMapping]


def collect(
    module: nn.Module, batches: Iterable[tuple[Tensor, ...]], residual_adds: bool = False
) -> dict[str, Histogram]:
    """The histogram of every activation site over all batches (section 3.4: statistics of the float network).

    With `residual_adds`, the operands of residual additions are sites too.

    Raises:
        QuantizationError: a site holds NaN or an infinity; the message names the site.
    """
    with torch.inference_mode(), observe(module, residual_adds) as counters:
        for batch in batches:
            module(*batch)
    return {site: counter.histogram() for site, counter in counters.items()}


def quantize(
    layers: list[Layer], histograms: Mapping[str, Histogram], calibrator: Calibrator, scheme: Scheme
) -> Quantization:
    """Ranges from histograms (activations) and weights (always max), and the mappings that follow."""
    chosen = quantized_layers(layers, scheme)
    ranges = {**weight_ranges(chosen, scheme), **activation_ranges(chosen, histograms, calibrator, scheme)}
    return Quantization(chosen, ranges, build_mappings(chosen, ranges, scheme))


def site_sqnr_db(quantization: Quantization, histograms: Mapping[str, Histogram]) -> dict[str, float | None]:
    """Signal to noise of every quantized site by its own quantization, in dB, in the order of the layers.

    Each site is looked at alone, with the float network's values: noise from the layers before is not in it.
    """
    found = {}
    for site in (site for layer in quantization.layers for site in layer.sites if site.name in quantization.mappings):
        mapping = quantization.mappings[site.name]
        if site.weight is not None:
            found[site.name] = weight_sqnr_db(site.weight, mapping)
        else:
            found[site.name] = activation_sqnr_db(histograms[site.name], mapping)
    return found
