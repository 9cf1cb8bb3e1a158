"""The searches on what the shipped networks see, against the same searches on 2,048 equal bins of the values."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

from quantbench.quant.calibrators import CALIBRATORS, _divergence, _squared_error
from quantbench.quant.histogram import HistogramCounter, equal_bins
from quantbench.quant.intercept.mode import Call, intercept
from quantbench.run.reference import load_reference
from quantbench.sweep.cell import cell_from_settings

# Samples and sites of each network.
NETWORKS = {
    "resnet20_fashion": (64, 22),
    "efficientnet_lite0": (4, 50),
    "minilm_trec": (64, 62),
    "jasper_mini": (16, 19),
}


def values_of(settings, model: str, count: int) -> dict[str, Tensor]:
    """The values of every activation site over the first calibration samples."""
    reference = load_reference(cell_from_settings(settings(f"model={model}"), False))
    seen: dict[str, list[Tensor]] = defaultdict(list)

    def keep(call: Call) -> Tensor:
        for operand in call.operands:
            if not operand.is_weight:
                seen[operand.site].append(operand.tensor.flatten().clone())
        return call.run()

    left = count
    with torch.inference_mode(), intercept(reference.network.module, keep):
        for indices, batch in reference.calibration.batches(4, "cpu", "", padded=False):
            reference.network.module(*batch)
            left -= len(indices)
            if left <= 0:
                break
    return {site: torch.cat(parts) for site, parts in seen.items()}


@pytest.mark.slow
@pytest.mark.parametrize("model", NETWORKS)
def test_searches_end_where_they_do_on_2048_equal_bins_of_the_values_or_where_it_is_as_good(settings, model):
    """Some sites have several ends that are as good: then what lies across a bin's edge decides between them."""
    count, sites = NETWORKS[model]
    found = values_of(settings, model, count)
    same = {"entropy": 0, "mse": 0}
    for site, x in found.items():
        counter = HistogramCounter()
        counter.add(x)
        counts, edges = np.histogram(x.abs().double().numpy(), bins=2048, range=(0, float(x.abs().max())))
        plain = equal_bins(counts.astype(np.int64), float(edges[1]), float(x.min()), float(x.max()))
        for name in same:
            ours, theirs = (CALIBRATORS[name](histogram, 8) for histogram in (counter.histogram(), plain))
            same[name] += (near := abs(ours - theirs) <= 1.01 * edges[1])
            cost = {"entropy": entropy_cost, "mse": mse_cost}[name]
            assert near or cost(plain, ours) <= 1.02 * cost(plain, theirs), (name, site)
    assert len(found) == sites
    assert min(same.values()) >= 2 / 3 * sites


def entropy_cost(plain, end: float) -> float:
    """The divergence at the end of a range, or at the bin's edge beside it."""
    counts, width = plain.counts.astype(np.float64), plain.edges[1]
    counts[0] = counts[1]
    place = round(end / width)
    with np.errstate(divide="ignore"):
        return min(_divergence(counts, i, 128) for i in range(place - 1, place + 2) if i <= len(counts))


def mse_cost(plain, end: float) -> float:
    return _squared_error(plain.counts, plain.centres, end / 127, 127)
