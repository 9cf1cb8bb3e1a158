"""What a method gets and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from quantbench.quant.calibrators import Calibrator
from quantbench.quant.histogram import Histogram
from quantbench.quant.layers import Layer
from quantbench.quant.mapping import Mapping as SiteMapping
from quantbench.quant.scheme import Range, Scheme


@dataclass(frozen=True)
class Bench:
    """All that a method may use to quantize a network.

    `module` is the float network in eval mode, batch normalization folded if asked: a copy of the method's own, which
    it may change. `example` are the arguments of one forward pass with a batch of one, on the module's device.
    `calibrate(histogram, bits)` is the chosen calibrator. `layers()` finds the layers of `module` as it is when called;
    `histograms()` are those of every activation site of the float network over the calibration samples, empty where
    activations stay in float; `calibration()` passes over these samples and gives indices and arguments of each batch.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    scheme: Scheme
    calibrate: Calibrator
    layers: Callable[[], list[Layer]]
    histograms: Callable[[], Mapping[str, Histogram]]
    calibration: Callable[[], Any]


@dataclass(frozen=True)
class Quantized:
    """What a method decided: the module to execute, the layers that are quantized, and each site's range and mapping.

    `notes` go into the record: what the method tried, and what it left out.
    """

    module: nn.Module
    layers: list[Layer]
    ranges: dict[str, Range]
    mappings: dict[str, SiteMapping]
    notes: dict[str, Any] = field(default_factory=dict)
