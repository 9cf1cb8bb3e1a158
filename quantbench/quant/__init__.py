"""The mathematics of quantization. Imports torch and NumPy only; knows no configuration, file or network by name."""

from __future__ import annotations


class QuantizationError(ValueError):
    """The message says in one line what cannot be quantized and why."""
