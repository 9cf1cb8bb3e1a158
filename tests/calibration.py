"""Mappings of a network, for tests that quantize one without a run."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from quantbench.quant.calibrators import max_range
from quantbench.quant.layers import find_layers
from quantbench.quant.mapping import Mapping
from quantbench.quant.observe import collect
from quantbench.quant.scheme import Scheme, decide


def max_mappings(
    module: nn.Module, example: tuple[Tensor, ...], batches: Iterable[tuple[Tensor, ...]]
) -> dict[str, Mapping]:
    """The int8 mappings that the largest values of the batches decide."""
    return decide(find_layers(module, *example), collect(module, batches), max_range, Scheme()).mappings
