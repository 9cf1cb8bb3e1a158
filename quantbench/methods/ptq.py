"""Post-training quantization: calibrate the float network, then map every site."""

from __future__ import annotations

from quantbench.methods.method import Bench, Quantized
from quantbench.quant.scheme import decide


def quantize(bench: Bench) -> Quantized:
    """The float network with the ranges that its weights and histograms give (sections 3 and 4).

    Raises:
        QuantizationError: a site cannot be quantized as the scheme asks; the message names it.
    """
    return Quantized(bench.module, *decide(bench.layers(), bench.histograms(), bench.calibrate, bench.scheme))
