"""Histograms and mappings of a network, for tests that quantize one without a run."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from quantbench.quant.calibrators import max_range
from quantbench.quant.histogram import Histogram
from quantbench.quant.layers import find_layers
from quantbench.quant.mapping import Mapping
from quantbench.quant.observe import observe
from quantbench.quant.scheme import Scheme, activation_ranges, build_mappings, quantized_layers, weight_ranges

Batches = Iterable[tuple[Tensor, ...]]


def histograms(module: nn.Module, batches: Batches) -> dict[str, Histogram]:
    """The histogram of every site over all batches."""
    with torch.inference_mode(), observe(module) as counters:
        for batch in batches:
            module(*batch)
    return {site: counter.histogram() for site, counter in counters.items()}


def max_mappings(module: nn.Module, example: tuple[Tensor, ...], batches: Batches) -> dict[str, Mapping]:
    """The int8 mappings that the largest values of the batches decide."""
    scheme = Scheme()
    layers = quantized_layers(find_layers(module, *example), scheme)
    activations = activation_ranges(layers, histograms(module, batches), max_range, scheme)
    return build_mappings(layers, {**weight_ranges(layers, scheme), **activations}, scheme)
