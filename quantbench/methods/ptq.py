"""Post-training quantization: calibrate the float network, then map every site."""

from __future__ import annotations

from quantbench.methods.method import Bench, Quantized
from quantbench.quant.scheme import activation_ranges, build_mappings, quantized_layers, weight_ranges


def quantize(bench: Bench) -> Quantized:
    """Ranges from histograms (activations, section 3.4) and weights (always max), and the mappings that follow.

    Raises:
        QuantizationError: a site cannot be quantized as the scheme asks; the message names it.
    """
    layers = quantized_layers(bench.layers(), bench.scheme)
    ranges = {
        **weight_ranges(layers, bench.scheme),
        **activation_ranges(layers, bench.histograms(), bench.calibrate, bench.scheme),
    }
    return Quantized(bench.module, layers, ranges, build_mappings(layers, ranges, bench.scheme))
