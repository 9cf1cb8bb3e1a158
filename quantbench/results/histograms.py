"""Histograms as arrays, for the files that keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.quant.histogram import Histogram

NAMES = ("sites", "counts", "frames")


def pack(by_site: Mapping[str, Histogram]) -> dict[str, NDArray[Any]]:
    """The arrays NAMES: the sites, their counts int64 [sites, bins], and width, low and high as float64 [sites, 3]."""
    return {
        "sites": np.array(list(by_site)),
        "counts": np.stack([h.counts for h in by_site.values()]),
        "frames": np.array([(h.width, h.low, h.high) for h in by_site.values()]),
    }


def unpack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Histogram]:
    """The histograms that `pack` packed, in the same order.

    Raises:
        ValueError: the arrays do not fit together.
    """
    if arrays["counts"].ndim != 2 or arrays["counts"].dtype != np.int64 or not np.isfinite(arrays["frames"]).all():
        raise ValueError("counts must be int64 [sites, bins], frames finite")
    if arrays["frames"].shape != (len(arrays["sites"]), 3) or not (arrays["frames"][:, 0] > 0).all():
        raise ValueError("every site needs a positive width, its least and its largest value")
    rows = zip(arrays["sites"], arrays["counts"], arrays["frames"], strict=True)
    return {str(site): Histogram(counts, *(float(value) for value in frame)) for site, counts, frame in rows}
