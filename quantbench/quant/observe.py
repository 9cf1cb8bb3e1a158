"""Collects a histogram for every activation site while a module runs in float."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from quantbench.quant import QuantizationError
from quantbench.quant.histogram import Histogram, HistogramCounter
from quantbench.quant.intercept.mode import Call, intercept


@contextmanager
def observe(module: nn.Module, residual_adds: bool = False) -> Iterator[dict[str, HistogramCounter]]:
    """While this is open, running `module` counts the values of every activation site, by the site's name.

    With `residual_adds`, the operands of residual additions are sites too.

    Raises:
        QuantizationError: (on running the module) a site holds NaN or an infinity; the message names the site.
    """
    counters: dict[str, HistogramCounter] = defaultdict(HistogramCounter)

    def count(call: Call) -> Tensor:
        for operand in call.operands:
            if not operand.is_weight:
                try:
                    counters[operand.site].add(operand.tensor)
                except QuantizationError as error:
                    raise QuantizationError(f"site {operand.site}: {error}") from error
        return call.run()

    with intercept(module, count, residual_adds=residual_adds):
        yield counters


def collect(
    module: nn.Module, batches: Iterable[tuple[Tensor, ...]], residual_adds: bool = False
) -> dict[str, Histogram]:
    """The histogram of every activation site over all batches (section 3.4: statistics of the float network).

    With `residual_adds`, the operands of residual additions are sites too.

    Raises:
        QuantizationError: a site holds NaN or an infinity; the message names the site.
    """
    with torch.inference_mode(), observe(module, residual_adds) as counters:
        for batch in batches:
            module(*batch)
    return {site: counter.histogram() for site, counter in counters.items()}
