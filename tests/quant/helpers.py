"""What several tests need: small modules, and the pipeline from a module to the mappings of its sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quantbench.quant.calibrators import max_range
from quantbench.quant.histogram import Histogram
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.intercept.operations import Call
from quantbench.quant.layers import Layer, find_layers
from quantbench.quant.mapping import Mapping
from quantbench.quant.observe import observe
from quantbench.quant.scheme import Scheme, activation_ranges, build_mappings, weight_ranges


class Function(nn.Module):
    """A module whose forward is `function(self, *inputs)`; its parameters are self.p0, self.p1, ..."""

    def __init__(self, function: Callable[..., Any], *parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for i, parameter in enumerate(parameters):
            self.register_parameter(f"p{i}", nn.Parameter(parameter))

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def names(module: nn.Module, *example: Any) -> list[str]:
    return [layer.name for layer in find_layers(module, *example)]


def sites(layer: Layer) -> list[str]:
    return [site.name for site in layer.sites]


def calls_of(module: nn.Module, *example: Any) -> list[Call]:
    """Every execution of a layer in one run, in order."""
    seen = []

    def handler(call: Call) -> Tensor:
        seen.append(call)
        return call.run()

    with torch.no_grad(), intercept(module, handler):
        module(*example)
    return seen


def mappings_for(module: nn.Module, *example: Any, scheme: Scheme | None = None) -> dict[str, Mapping]:
    """Mappings of every site of `module`, calibrated with max on one example."""
    scheme = scheme or Scheme()
    layers = find_layers(module, *example)
    with torch.no_grad(), observe(module) as counters:
        module(*example)
    histograms = {site: counter.histogram() for site, counter in counters.items()}
    ranges = {**weight_ranges(layers, scheme), **activation_ranges(layers, histograms, max_range, scheme)}
    return build_mappings(layers, ranges, scheme)


def naive_scale_quantize(x: np.ndarray, alpha: Any, bits: int) -> np.ndarray:
    """Fake quantization with scale mapping, written from its formula in float32."""
    high = np.float32(2 ** (bits - 1) - 1)
    alpha = np.asarray(alpha, np.float32)
    scale = np.where(alpha > 0, high / np.where(alpha > 0, alpha, 1), 0).astype(np.float32)
    q = np.clip(np.rint(x.astype(np.float32) * scale), -high, high)
    return np.where(scale > 0, q / np.where(scale > 0, scale, 1), 0).astype(np.float32)


def moved(a: Histogram, b: Histogram) -> int:
    """How many values at most lie on another side of an edge in the one histogram than in the other."""
    edges = np.union1d(a.edges, b.edges)
    below = [np.append(0, np.cumsum(h.counts))[np.searchsorted(h.edges, edges, side="right") - 1] for h in (a, b)]
    return int(np.abs(below[0] - below[1]).max())


def hooks_of(module: nn.Module) -> int:
    return sum(len(child._forward_hooks) + len(child._forward_pre_hooks) for child in module.modules())
