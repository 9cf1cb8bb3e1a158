"""The error of everything below: a network or a number that cannot be quantized as asked."""

from __future__ import annotations


class QuantizationError(ValueError):
    """The message says in one line what cannot be quantized and why."""
