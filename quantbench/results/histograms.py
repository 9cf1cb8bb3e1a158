"""How histograms lie on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantbench.results.arrays import Arrays, read_arrays, write_arrays

if TYPE_CHECKING:
    from quantbench.quant.histogram import Histogram

NAMES = ("sites", "counts", "frames")


def pack(by_site: Mapping[str, Histogram]) -> Arrays:
    """The arrays NAMES: the sites, their counts int64 [sites, bins], and width, low and high as float64 [sites, 3]."""
    return {
        "sites": np.array(list(by_site)),
        "counts": np.stack([h.counts for h in by_site.values()]),
        "frames": np.array([(h.width, h.low, h.high) for h in by_site.values()]),
    }


def unpack(arrays: Arrays) -> dict[str, Histogram]:
    """The histograms that `pack` packed, in the same order."""
    from quantbench.quant.histogram import Histogram

    rows = zip(arrays["sites"], arrays["counts"], arrays["frames"], strict=True)
    return {str(site): Histogram(counts, *(float(value) for value in frame)) for site, counts, frame in rows}


def write(path: Path, by_site: Mapping[str, Histogram]) -> None:
    """Write histograms, whole or not at all.

    Raises:
        Unwritable: the file cannot be written.
    """
    write_arrays(path, pack(by_site))


def read(path: Path) -> dict[str, Histogram]:
    """The histograms that `write` wrote, in the same order; none where the file is missing or damaged."""
    arrays = read_arrays(path, NAMES)
    return {} if arrays is None else unpack(arrays)
