"""From a quantization scheme to the mapping of every site."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from quantbench.quant import QuantizationError
from quantbench.quant import mapping as maps
from quantbench.quant.calibrators import Calibrator
from quantbench.quant.granularity import Granularity, PerChannel, PerTensor, reduce_min_max
from quantbench.quant.histogram import Histogram
from quantbench.quant.layers import Layer, union
from quantbench.quant.observe import Observations


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

    def skips(self, layer: str) -> bool:
        """Whether the layer of this name is left in float."""
        return any(fnmatchcase(layer, pattern) for pattern in self.skip_layers)


@dataclass(frozen=True)
class Range:
    """The real interval that a site's integers cover: float tensors, scalar or broadcastable against the site."""

    low: Tensor
    high: Tensor


class Decision(NamedTuple):
    """The layers that are quantized, and the range and mapping of each of their sites."""

    layers: list[Layer]
    ranges: dict[str, Range]
    mappings: SiteMappings


class SiteMappings(dict[str, maps.Mapping]):
    """The mapping of every site, and what is to be done with sites that have none.

    `known` are the sites of all layers: those of them without a mapping stay in float. What else runs is quantized, if
    it is a parameter, as `scheme` asks, and refused if not.
    """

    def __init__(self, mappings: Mapping[str, maps.Mapping], layers: Iterable[Layer], scheme: Scheme) -> None:
        """Of a network with these layers, quantized or not."""
        super().__init__(mappings)
        layers = list(layers)
        self.known = {site.name for layer in layers for site in layer.sites}
        self.layers = {layer.name for layer in layers}
        self.scheme = scheme

    def missing(self, layer: str, site: str, weight: Tensor | None, channel: PerChannel | None) -> maps.Mapping | None:
        """The mapping of a site that has none; None where it stays in float. `weight` is given where it is a parameter.

        Raises:
            QuantizationError: the site was never met before; the message names it.
        """
        if site in self.known or self.scheme.skips(layer):
            return None
        no_data = self.scheme.activation_bits is None
        if weight is not None and channel is not None and (no_data or layer in self.layers):
            return weight_mapping(site, weight, channel, self.scheme)
        if no_data and channel is None:
            return None
        raise QuantizationError(f"site {site} was not reached by any calibration sample, but is now")


def decide(
    layers: Iterable[Layer], histograms: Mapping[str, Histogram], calibrator: Calibrator, scheme: Scheme
) -> Decision:
    """Ranges from weights (always max) and histograms (activations, section 3.4), and the mappings that follow.

    The layers are those that calibration met, where `histograms` knows them (collect), else `layers`.

    Raises:
        QuantizationError: a site cannot be quantized as the scheme asks; the message names it.
    """
    layers = union(layers, histograms.layers) if isinstance(histograms, Observations) else list(layers)
    chosen = quantized_layers(layers, scheme)
    ranges = {**weight_ranges(chosen, scheme), **activation_ranges(chosen, histograms, calibrator, scheme)}
    return Decision(chosen, ranges, SiteMappings(build_mappings(chosen, ranges, scheme), layers, scheme))


def quantized_layers(layers: Iterable[Layer], scheme: Scheme) -> list[Layer]:
    """The layers that the scheme quantizes.

    Raises:
        QuantizationError: an entry of `skip_layers` fits no layer.
    """
    layers = list(layers)
    for pattern in scheme.skip_layers:
        if not any(fnmatchcase(layer.name, pattern) for layer in layers):
            raise QuantizationError(f"skip_layers: no layer is named {pattern!r}; `quantbench inspect` lists the names")
    return [layer for layer in layers if not scheme.skips(layer.name)]


def weight_ranges(layers: Iterable[Layer], scheme: Scheme) -> dict[str, Range]:
    """The range of every weight site, calibrated with max; needs no data.

    Raises:
        QuantizationError: a weight holds NaN or an infinity; the message names the site.
    """
    sites = [site for layer in layers for site in layer.sites]
    return {
        s.name: _weight_range(s.name, s.weight, s.channel, scheme) for s in sites if s.weight is not None and s.channel
    }


def _weight_range(site: str, weight: Tensor, channel: PerChannel, scheme: Scheme) -> Range:
    granularity: Granularity = channel if scheme.weight_granularity == "per_channel" else PerTensor()
    low, high = reduce_min_max(weight, granularity)
    if not bool(torch.isfinite(low + high).all()):
        raise QuantizationError(f"site {site}: the weight holds NaN or an infinity")
    return _symmetric(torch.maximum(low.abs(), high.abs())) if scheme.mapping == "scale" else Range(low, high)


def weight_mapping(site: str, weight: Tensor, channel: PerChannel, scheme: Scheme) -> maps.Mapping:
    """The mapping of one weight.

    Raises:
        QuantizationError: it holds NaN or an infinity; the message names the site.
    """
    return _mapping(_weight_range(site, weight, channel, scheme), scheme.weight_bits, scheme)


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
        if not isinstance(alpha, int | float) or not 0 <= alpha < math.inf:
            raise QuantizationError(f"site {site.name}: the calibrator gave {alpha!r}, which is no range")
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
        mappings[site.name] = _mapping(ranges[site.name], bits, scheme)
    return mappings


def _mapping(span: Range, bits: int, scheme: Scheme) -> maps.Mapping:
    if scheme.mapping == "scale":
        return maps.scale_mapping(span.high, bits)
    return maps.affine_mapping(span.low, span.high, bits)


def _symmetric(alpha: Tensor) -> Range:
    return Range(-alpha, alpha)
