"""Simulation: float arithmetic on fake-quantized operands, in PyTorch (section 4 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from quantbench.backends.backend import Execution
from quantbench.methods.method import Quantized
from quantbench.quant.simulate import simulate


@contextmanager
def open(quantized: Quantized, example: tuple[Tensor, ...]) -> Iterator[Execution]:
    """While this is open, the module runs quantized; it needs no `example`."""
    residual_adds = any(layer.kind == "add" for layer in quantized.layers)
    with simulate(quantized.module, quantized.mappings, residual_adds):
        yield Execution(quantized.module, f"torch {torch.__version__}", 0)
