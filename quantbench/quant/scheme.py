"""From a quantization scheme to the mapping of every site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from quantbench.quant import QuantizationError
from quantbench.quant import mapping as maps
from quantbench.quant.calibrators import Calibrator
from quantbench.quant.granularity import Granularity, PerTensor, reduce_min_max
from quantbench.quant.histogram import Histogram
from quantbench.quant.layers import Layer


@dataclass(frozen=True)
class Scheme:
    """How a network is quantized.

    `activation_bits` is None where activations stay in float. `skip_layers` holds layer names, or patterns of them
    (fnmatch), left in float. Weights are always calibrated with max.
    """

    weight_bits: int = 8
    activation_bits: int | None = 8
    mapping: Literal["scale", "affine"] = "scale"
    weight_granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    skip_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Range:
    """The real interval that a site's integers cover: float tensors, scalar or broadcastable against the site."""

    low: Tensor
    high: Tensor


class Decision(NamedTuple):
    """The layers that are quantized, and the range and mapping of each of their sites."""

    layers: list[Layer]
    ranges: dict[str, Range]
    mappings: dict[str, maps.Mapping]


def decide(
    layers: Iterable[Layer], histograms: Mapping[str, Histogram], calibrator: Calibrator, scheme: Scheme
) -> Decision:
    """Ranges from weights (always max) and histograms (activations, section 3.4), and the mappings that follow.

    Raises:
        QuantizationError: a site cannot be quantized as the scheme asks; the message names it.
    """
    chosen = quantized_layers(layers, scheme)
    ranges = {**weight_ranges(chosen, scheme), **activation_ranges(chosen, histograms, calibrator, scheme)}
    return Decision(chosen, ranges, build_mappings(chosen, ranges, scheme))


def quantized_layers(layers: Iterable[Layer], scheme: Scheme) -> list[Layer]:
    """The layers that the scheme quantizes.

    Raises:
        QuantizationError: an entry of `skip_layers` fits no layer.
    """
    layers = list(layers)
    for pattern in scheme.skip_layers:
        if not any(fnmatchcase(layer.name, pattern) for layer in layers):
            raise QuantizationError(f"skip_layers: no layer is named {pattern!r}; `quantbench inspect` lists the names")
    return [x for x in layers if not any(fnmatchcase(x.name, pattern) for pattern in scheme.skip_layers)]


def weight_ranges(layers: Iterable[Layer], scheme: Scheme) -> dict[str, Range]:
    """The range of every weight site, calibrated with max; needs no data.

    Raises:
        QuantizationError: a weight holds NaN or an infinity; the message names the site.
    """
    ranges = {}
    for site in (site for layer in layers for site in layer.sites):
        if site.weight is None or site.channel is None:
            continue
        granularity: Granularity = site.channel if scheme.weight_granularity == "per_channel" else PerTensor()
        low, high = reduce_min_max(site.weight, granularity)
        if not bool(torch.isfinite(low + high).all()):
            raise QuantizationError(f"site {site.name}: the weight holds NaN or an infinity")
        ranges[site.name] = (
            _symmetric(torch.maximum(low.abs(), high.abs())) if scheme.mapping == "scale" else Range(low, high)
        )
    return ranges


def activation_ranges(
    layers: Iterable[Layer], histograms: Mapping[str, Histogram], calibrator: Calibrator, scheme: Scheme
) -> dict[str, Range]:
    """The range of every activation site, one a tensor: what `calibrator` decides on the site's histogram.

    Affine ranges are what was seen of [-alpha, alpha], so that a one-sided site uses every level.

    Raises:
        QuantizationError: a site was never seen during calibration.
    """
    if scheme.activation_bits is None:
        return {}
    ranges = {}
    for site in (site for layer in layers for site in layer.sites if site.weight is None):
        if site.name not in histograms:
            raise QuantizationError(f"site {site.name} was not reached by any calibration sample")
        histogram = histograms[site.name]
        alpha = calibrator(histogram, scheme.activation_bits)
        if scheme.mapping == "scale":
            ranges[site.name] = _symmetric(torch.tensor(alpha, dtype=torch.float32))
        else:
            low, high = max(histogram.low, -alpha), min(histogram.high, alpha)
            ranges[site.name] = Range(torch.tensor(min(low, 0.0)), torch.tensor(max(high, 0.0)))
    return ranges


def build_mappings(layers: Iterable[Layer], ranges: Mapping[str, Range], scheme: Scheme) -> dict[str, maps.Mapping]:
    """The mapping of every site that has a range.

    Raises:
        QuantizationError: a bit width is out of range.
    """
    mappings = {}
    for site in (site for layer in layers for site in layer.sites if site.name in ranges):
        bits = scheme.activation_bits if site.weight is None else scheme.weight_bits
        assert bits is not None
        span = ranges[site.name]
        if scheme.mapping == "scale":
            mappings[site.name] = maps.scale_mapping(span.high, bits)
        else:
            mappings[site.name] = maps.affine_mapping(span.low, span.high, bits)
    return mappings


def _symmetric(alpha: Tensor) -> Range:
    return Range(-alpha, alpha)
