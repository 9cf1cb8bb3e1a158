"""How histograms lie on disk."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantbench.results.arrays import Arrays, read_arrays, write_arrays

if TYPE_CHECKING:
    from quantbench.quant.histogram import Histogram

NAMES = ("sites", "bins", "counts", "edges", "ends")


def pack(by_site: Mapping[str, Histogram]) -> Arrays:
    """The arrays NAMES of histograms, those of all sites one after the other.

    The sites; how many bins each has, int64 [sites]; their counts and their edges, compressed; low and high, float64
    [sites, 2].
    """
    every = by_site.values()
    return {
        "sites": np.array(list(by_site)),
        "bins": np.array([len(h.counts) for h in every]),
        "counts": _compressed(np.concatenate([h.counts for h in every])),
        # Edges of neighbouring bins are as many steps of float64 apart, all over an octave.
        "edges": _compressed(_steps(np.concatenate([h.edges for h in every]).view(np.int64))),
        "ends": np.array([(h.low, h.high) for h in every]),
    }


def unpack(arrays: Arrays) -> dict[str, Histogram]:
    """The histograms that `pack` packed, in the same order."""
    from quantbench.quant.histogram import Histogram

    ends = np.cumsum(arrays["bins"])
    counts = np.split(_plain(arrays["counts"]), ends[:-1])
    edges = np.split(np.cumsum(_plain(arrays["edges"])).view(np.float64), (ends + np.arange(1, len(ends) + 1))[:-1])
    rows = zip(arrays["sites"], counts, edges, arrays["ends"], strict=True)
    return {str(site): Histogram(n, edge, float(low), float(high)) for site, n, edge, (low, high) in rows}


def _steps(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    steps = numbers.copy()
    steps[1:] -= numbers[:-1]
    return steps


def _compressed(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bytes of numbers compressed, all lowest ones first: most of the others are 0."""
    return np.frombuffer(zlib.compress(numbers.view(np.uint8).reshape(-1, 8).T.tobytes(), 1), np.uint8)


def _plain(compressed: NDArray[np.uint8]) -> NDArray[np.int64]:
    planes = np.frombuffer(zlib.decompress(compressed.tobytes()), np.uint8).reshape(8, -1)
    return np.ascontiguousarray(planes.T).view(np.int64).ravel()


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
