"""Collects a histogram for every activation site, and all layers, while a module runs in float."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from quantbench.quant import QuantizationError
from quantbench.quant.histogram import Histogram, HistogramCounter
from quantbench.quant.intercept.mode import intercept
from quantbench.quant.intercept.operations import Call
from quantbench.quant.layers import Found, Layer


class Observations(dict[str, Histogram]):
    """The histogram of every activation site, and the layers that ran."""

    def __init__(self, histograms: Mapping[str, Histogram], layers: list[Layer]) -> None:
        """Of one float pass over the calibration batches."""
        super().__init__(histograms)
        self.layers = layers


@contextmanager
def observe(
    module: nn.Module, residual_adds: bool = False, found: Found | None = None
) -> Iterator[dict[str, HistogramCounter]]:
    """While this is open, running `module` counts the values of every activation site, by the site's name.

    With `residual_adds`, the operands of residual additions are sites too. `found` notes the layers.

    Raises:
        QuantizationError: (on running the module) a site holds NaN or an infinity; the message names the site.
    """
    counters: dict[str, HistogramCounter] = {}
    computed: dict[str, HistogramCounter] = defaultdict(HistogramCounter)

    def count(call: Call) -> Tensor:
        for operand in call.operands:
            if not operand.is_parameter:
                try:
                    # What looks like a weight so far may turn out to differ between inputs.
                    computed[operand.base].add(operand.tensor)
                except QuantizationError as error:
                    raise QuantizationError(f"site {operand.site}: {error}") from error
                if not operand.is_weight:
                    counters.setdefault(operand.site, computed[operand.base])
        if found is not None:
            found.add(call)
        return call.run()

    with intercept(module, count, guard=found is not None, residual_adds=residual_adds):
        yield counters


def collect(module: nn.Module, batches: Iterable[tuple[Tensor, ...]], residual_adds: bool = False) -> Observations:
    """The histogram of every activation site over all batches (section 3.4: statistics of the float network).

    With `residual_adds`, the operands of residual additions are sites too.

    Raises:
        QuantizationError: a site holds NaN or an infinity; the message names the site.
    """
    found = Found(module)
    with torch.inference_mode(), observe(module, residual_adds, found) as counters:
        for batch in batches:
            module(*batch)
    return Observations({site: counter.histogram() for site, counter in counters.items()}, found.layers())
